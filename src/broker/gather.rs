//! Gathering: what a client publishes to one room in a row is delivered together, so that each recipient is
//! looked at once for all of it.
//!
//! It waits no longer than it would wait to be written: see [`Link::flush`]. Until it is delivered it is not
//! acknowledged either, and whatever else its client does takes effect behind it.
//!
//! [`Link::flush`]: crate::wire::link::Link::flush

use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::broker::Broker;
use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::wire::due::Late;

/// How much is gathered, in bytes of a send queue: what goes on from there has little to gain by more.
const MOST: usize = 64 * 1024;

/// A client as a publisher, and what it has published and nobody has been offered.
pub(super) struct Publisher {
    broker: Broker,
    session: Arc<Session>,
    /// Locked while it is delivered, so that nothing overtakes it.
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// There is one if there are messages.
    room: Option<Room>,
    messages: Vec<Message>,
    /// What they take of a send queue.
    cost: usize,
    acknowledgements: Vec<(i64, Result<(), Refusal>)>,
    /// Whoever writes what is due calls for it.
    expected: bool,
}

impl Publisher {
    pub(super) fn new(broker: Broker, session: Arc<Session>) -> Self {
        Self { broker, session, gathered: Mutex::default() }
    }

    /// The broker that it publishes to.
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Who it is.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Has `message` delivered to everyone in `room`.
    pub(super) fn publish(self: &Arc<Self>, room: Room, message: Message) {
        let mut gathered = self.lock();
        if gathered.room.as_ref() != Some(&room) {
            self.deliver_gathered(&mut gathered);
            gathered.room = Some(room);
        }
        gathered.cost += message.cost();
        gathered.messages.push(message);
        if !std::mem::replace(&mut gathered.expected, true) {
            self.session.link().due().expect(self.clone());
        }
        if gathered.cost >= MOST {
            self.deliver_gathered(&mut gathered);
        }
    }

    /// Tells the client how its event with this acknowledgement id has ended, behind all that it has
    /// published before.
    pub(super) fn acknowledge(&self, ack: i64, outcome: Result<(), Refusal>) {
        let mut gathered = self.lock();
        if gathered.room.is_some() {
            gathered.acknowledgements.push((ack, outcome));
        } else {
            self.broker.acknowledge(&self.session, ack, outcome);
        }
    }

    /// Delivers all that was published so far.
    pub(super) fn deliver(&self) {
        self.deliver_gathered(&mut self.lock());
    }

    fn deliver_gathered(&self, gathered: &mut Gathered) {
        let Some(room) = gathered.room.take() else { return };
        gathered.cost = 0;
        let (messages, acknowledgements) =
            (take(&mut gathered.messages), take(&mut gathered.acknowledgements));
        self.broker.publish(&self.session, &room, &messages);
        for (ack, outcome) in acknowledgements {
            self.broker.acknowledge(&self.session, ack, outcome);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Late for Publisher {
    fn come(&self) {
        let mut gathered = self.lock();
        gathered.expected = false;
        // As for an event: what is lost then is these messages, and not the library's locks.
        if catch_unwind(AssertUnwindSafe(|| self.deliver_gathered(&mut gathered))).is_err() {
            self.broker.0.metrics.panics.increment(1);
        }
    }
}
