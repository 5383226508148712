//! Delivery: messages into the send queues of their recipients, encoded once; and what becomes of those
//! for whom they do not fit.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::broker::Broker;
use crate::broker::message::Batch;
use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::config::SlowConsumer;
use crate::protocol::EventName;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::due::Due;
use crate::wire::outgoing::Offered;

impl Broker {
    /// Queues `messages` of `publisher` for everyone in `room`.
    ///
    /// On return they are in the send queue of every subscriber that was not too slow. It does not
    /// mean that anyone has read them.
    pub(super) fn publish(&self, publisher: &Session, room: &Room, messages: &[Message]) {
        self.publish_to(room, |_| true, messages, &mut publisher.link().due());
        self.offer_peers(Some(room), messages);
    }

    /// Queues `messages` for everyone `wanted` in `room`, who then is due to be written.
    pub(super) fn publish_to(
        &self,
        room: &Room,
        wanted: impl Fn(&Session) -> bool,
        messages: &[Message],
        due: &mut Due,
    ) {
        let began = Instant::now();
        let wanted = |session: &&Arc<Session>| wanted(session);
        let outcome = self
            .0
            .members
            .in_room(room, |members| self.deliver(due, members.values().filter(wanted), messages));
        self.settle(EventName::Publish, messages, outcome.unwrap_or_default(), began);
    }

    /// Queues `message` for everyone who is connected except `sender`.
    pub(super) fn broadcast(&self, sender: &Session, message: Message) {
        let messages = [message];
        self.broadcast_to(|session| session.id() != sender.id(), &messages, &mut sender.link().due());
        self.offer_peers(None, &messages);
    }

    /// Queues `messages` for everyone `wanted` who is connected, who then is due to be written.
    pub(super) fn broadcast_to(
        &self,
        wanted: impl Fn(&Session) -> bool,
        messages: &[Message],
        due: &mut Due,
    ) {
        let began = Instant::now();
        let wanted = |session: &&Arc<Session>| session.is_connected() && wanted(session);
        let outcome =
            self.0.members.everyone(|everyone| self.deliver(due, everyone.values().filter(wanted), messages));
        self.settle(EventName::Broadcast, messages, outcome, began);
    }

    /// Queues `messages` for those `wanted`: all at once for whom they fit, and for each of the others as
    /// many as fit.
    fn deliver<'a>(
        &self,
        due: &mut Due,
        wanted: impl Iterator<Item = &'a Arc<Session>>,
        messages: &[Message],
    ) -> Outcome {
        let together = Batch::new(messages);
        // An empty queue takes any one message, but not any batch.
        let fits = messages.len() == 1 || together.cost() as u64 <= self.0.links.longest_queue();
        let (all, mut tight) = if fits { self.offer(wanted, &together, due) } else { (0, wanted.collect()) };
        if messages.len() == 1 {
            return Outcome { recipients: vec![all], slow: tight.into_iter().cloned().collect() };
        }
        let disconnects = self.0.live.load().slow_consumer == SlowConsumer::Disconnect;
        let mut outcome = Outcome::default();
        for message in messages {
            let alone = Batch::new(std::slice::from_ref(message));
            let (some, slow) = self.offer(tight.iter().copied(), &alone, due);
            outcome.recipients.push(all + some);
            outcome.slow.extend(slow.iter().copied().cloned());
            if disconnects {
                // Who is about to be disconnected gets nothing behind the gap.
                let mut slow = slow.into_iter().peekable();
                tight.retain(|session| slow.next_if(|slow| Arc::ptr_eq(slow, session)).is_none());
            }
        }
        outcome
    }

    /// Queues all of `batch` for those `wanted`; says for how many it fits, and for whom it does not.
    fn offer<'a>(
        &self,
        wanted: impl Iterator<Item = &'a Arc<Session>>,
        batch: &Batch<'_>,
        due: &mut Due,
    ) -> (u32, Vec<&'a Arc<Session>>) {
        let (mut recipients, mut queued, mut refused) = (0, Vec::new(), Vec::new());
        for session in wanted {
            match session.link().offer(batch.cost(), |generation| batch.frames(generation), due) {
                Offered::Ready => {}
                Offered::Queued => queued.push(session.clone()),
                Offered::Refused => {
                    refused.push(session);
                    continue;
                }
            }
            recipients += 1;
        }
        if !queued.is_empty() {
            for message in batch.messages() {
                self.0.sockets.event(self.0.encoding, message, &queued);
            }
        }
        (recipients, refused)
    }

    /// Tells a client how its event with this acknowledgement id has ended.
    pub(super) fn acknowledge(&self, session: &Session, ack: i64, outcome: Result<(), Refusal>) {
        let encoding = self.0.encoding;
        let arguments = match outcome {
            Ok(()) => Cow::Borrowed(encoding.success()),
            Err(refusal) => Cow::Owned(encoding.refusal(refusal)),
        };
        let message = Message::acknowledgement(encoding, &arguments, ack);
        let batch = Batch::new(std::slice::from_ref(&message));
        let link = session.link();
        let frames = |generation| batch.frames(generation);
        match link.offer_acknowledgement(message.cost(), frames, &mut link.due()) {
            Offered::Ready => {}
            Offered::Queued => self.0.sockets.acknowledgement(encoding, &message, session.id(), ack),
            Offered::Refused => return self.disconnect_slow(session),
        }
        self.0.links.enqueued(message.cost());
    }

    /// Counts what was delivered, and sees to those who were too slow.
    fn settle(&self, name: EventName, messages: &[Message], outcome: Outcome, began: Instant) {
        let each = began.elapsed() / u32::try_from(messages.len()).unwrap_or(u32::MAX).max(1);
        for (index, message) in messages.iter().enumerate() {
            let recipients = outcome.recipients.get(index).copied().unwrap_or_default();
            self.0.metrics.delivered(name, message.bytes(), recipients, each);
            self.0.links.enqueued(message.cost().saturating_mul(recipients as usize));
        }
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
    /// How many got each message; nothing is said if nobody was there.
    recipients: Vec<u32>,
    /// Who did not, once for each message.
    slow: Vec<Arc<Session>>,
}
