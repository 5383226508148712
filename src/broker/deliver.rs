//! Delivery: one message into the send queues of its recipients, encoded once; and what becomes of
//! those for whom it does not fit.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::broker::Broker;
use crate::broker::members::Sessions;
use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::config::SlowConsumer;
use crate::protocol::EventName;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::outgoing::Offered;

impl Broker {
    /// Queues `message` of `publisher` for everyone in `room`.
    ///
    /// On return it is in the send queue of every subscriber that was not too slow. It does not
    /// mean that anyone has read it.
    pub(super) fn publish(&self, publisher: &Session, room: &Room, message: &Message) {
        let began = Instant::now();
        let outcome =
            self.0.members.in_room(room, |members| self.deliver(publisher, members, message, |_| true));
        self.settle(EventName::Publish, message, outcome.unwrap_or_default(), began);
    }

    /// Queues `message` for everyone who is connected except `sender`.
    pub(super) fn broadcast(&self, sender: &Session, message: &Message) {
        let began = Instant::now();
        let wanted = |session: &Session| session.is_connected() && session.id() != sender.id();
        let outcome = self.0.members.everyone(|everyone| self.deliver(sender, everyone, message, wanted));
        self.settle(EventName::Broadcast, message, outcome, began);
    }

    /// Queues `message` for those of `sessions` who are `wanted`.
    fn deliver(
        &self,
        publisher: &Session,
        sessions: &Sessions,
        message: &Message,
        wanted: impl Fn(&Session) -> bool,
    ) -> Outcome {
        let (mut outcome, mut queued) = (Outcome::default(), Vec::new());
        let mut due = publisher.link().due();
        for session in sessions.values().filter(|session| wanted(session)) {
            let frames = |generation| message.frames(generation);
            match session.link().offer(message.cost(), frames, &mut due) {
                Offered::Ready => {}
                Offered::Queued => queued.push(session.clone()),
                Offered::Refused => {
                    outcome.slow.push(session.clone());
                    continue;
                }
            }
            outcome.recipients += 1;
        }
        if !queued.is_empty() {
            self.0.sockets.event(self.0.encoding, message, &queued);
        }
        outcome
    }

    /// Tells a client how its event with this acknowledgement id has ended.
    pub(super) fn acknowledge(&self, session: &Session, ack: i64, outcome: Result<(), Refusal>) {
        let encoding = self.0.encoding;
        let arguments = match outcome {
            Ok(()) => Cow::Borrowed(encoding.success()),
            Err(refusal) => Cow::Owned(encoding.refusal(refusal)),
        };
        let message = Message::acknowledgement(encoding, &arguments, ack);
        let link = session.link();
        let frames = |generation| message.frames(generation);
        let offered = link.offer_acknowledgement(message.cost(), frames, &mut link.due());
        match offered {
            Offered::Ready => {}
            Offered::Queued => self.0.sockets.acknowledgement(encoding, &message, session.id(), ack),
            Offered::Refused => return self.disconnect_slow(session),
        }
        self.0.links.enqueued(message.cost());
    }

    /// Counts what was delivered, and sees to those who were too slow.
    fn settle(&self, name: EventName, message: &Message, outcome: Outcome, began: Instant) {
        self.0.metrics.delivered(name, message.bytes(), outcome.recipients, began.elapsed());
        self.0.links.enqueued(message.cost().saturating_mul(outcome.recipients as usize));
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
