//! Delivery: one message into the send queues of its recipients, encoded once; and what becomes of
//! those for whom it does not fit.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::Broker;
use crate::broker::members::Sessions;
use crate::broker::session::Session;
use crate::broker::sockets::Message;
use crate::config::SlowConsumer;
use crate::protocol::EventName;
use crate::protocol::Room;
use crate::telemetry::disconnection::Disconnection;

impl Broker {
    /// Queues `message` for everyone in `room`.
    ///
    /// On return it is in the send queue of every subscriber that was not too slow. It does not
    /// mean that anyone has read it.
    pub(super) fn publish(&self, room: &Room, message: Message) {
        let began = Instant::now();
        let (bytes, cost) = (message.bytes(), message.cost());
        let outcome = self.0.members.in_room(room, |members| {
            let outcome = Outcome::enqueue(members, &message, |_| true);
            self.0.sockets.to_room(room, &outcome.slow, message);
            outcome
        });
        self.settle(EventName::Publish, (bytes, cost), outcome.unwrap_or_default(), began);
    }

    /// Queues `message` for everyone who is connected except `sender`.
    pub(super) fn broadcast(&self, sender: &Session, message: Message) {
        let began = Instant::now();
        let (bytes, cost) = (message.bytes(), message.cost());
        let outcome = self.0.members.everyone(|everyone| {
            let wanted = |session: &Session| session.is_connected() && session.id() != sender.id();
            let outcome = Outcome::enqueue(everyone, &message, wanted);
            self.0.sockets.to_all_but(sender.id(), &outcome.slow, message);
            outcome
        });
        self.settle(EventName::Broadcast, (bytes, cost), outcome, began);
    }

    /// Counts what was delivered, and sees to those who were too slow.
    fn settle(&self, name: EventName, (bytes, cost): (usize, usize), outcome: Outcome, began: Instant) {
        self.0.metrics.delivered(name, bytes, outcome.recipients, began.elapsed());
        self.0.links.enqueued(cost.saturating_mul(outcome.recipients as usize));
        for session in outcome.slow {
            self.leave_out(&session);
        }
    }

    /// A client does not get a message, as it reads more slowly than messages come.
    pub(super) fn leave_out(&self, session: &Session) {
        if session.link().is_over() {
            return; // It is not slow, but gone, and about to be taken off the list.
        }
        self.0.metrics.dropped_slow.increment(1);
        if self.0.live.load().slow_consumer == SlowConsumer::Disconnect {
            self.disconnect_slow(session);
        }
    }

    /// Disconnects a client that does not read what it is sent.
    pub(super) fn disconnect_slow(&self, session: &Session) {
        self.0.members.depart(session, || self.0.sockets.leave_all(session.id()));
        session.link().close(Disconnection::SlowConsumer);
    }
}

/// For whom there was room in the send queue.
#[derive(Default)]
struct Outcome {
    recipients: u32,
    slow: Vec<Arc<Session>>,
}

impl Outcome {
    fn enqueue(sessions: &Sessions, message: &Message, wanted: impl Fn(&Session) -> bool) -> Self {
        let mut outcome = Self::default();
        for session in sessions.values().filter(|session| wanted(session)) {
            if session.link().enqueue(message.cost()) {
                outcome.recipients += 1;
            } else {
                outcome.slow.push(session.clone());
            }
        }
        outcome
    }
}
