//! Delivery: messages into the send queues of their recipients, encoded once; and what becomes of those
//! for whom they do not fit.

use std::borrow::Cow;
use std::cell::OnceCell;
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
    /// Queues what `publisher` has for everyone in `room`.
    ///
    /// On return it is in the send queue of every subscriber that was not too slow. It does not
    /// mean that anyone has read it.
    pub(super) fn publish(&self, publisher: &Session, room: &Room, batch: &Batch) {
        let began = Instant::now();
        let outcome =
            self.0.members.in_room(room, |members| self.deliver(publisher, members.values(), batch));
        self.settle(EventName::Publish, batch, outcome.unwrap_or_default(), began);
    }

    /// Queues `message` for everyone who is connected except `sender`.
    pub(super) fn broadcast(&self, sender: &Session, message: Message) {
        let began = Instant::now();
        let batch = Batch::from(message);
        let wanted = |session: &&Arc<Session>| session.is_connected() && session.id() != sender.id();
        let outcome = self
            .0
            .members
            .everyone(|everyone| self.deliver(sender, everyone.values().filter(wanted), &batch));
        self.settle(EventName::Broadcast, &batch, outcome, began);
    }

    /// Queues `batch` for those `wanted`: all of it at once for whom it fits, and of the others for each
    /// as many messages as fit.
    fn deliver<'a>(
        &self,
        publisher: &Session,
        wanted: impl Iterator<Item = &'a Arc<Session>>,
        batch: &Batch,
    ) -> Outcome {
        let (mut all, mut queued, mut tight) = (0, Vec::new(), Vec::new());
        let mut due = publisher.link().due();
        // An empty queue takes any one message, but not any batch.
        let fits = batch.messages().len() == 1 || batch.cost() as u64 <= self.0.links.longest_queue();
        for session in wanted {
            if !fits {
                tight.push(session);
                continue;
            }
            match session.link().offer(batch.cost(), |generation| batch.frames(generation), &mut due) {
                Offered::Ready => all += 1,
                Offered::Queued => {
                    all += 1;
                    queued.push(session.clone());
                }
                Offered::Refused => tight.push(session),
            }
        }
        let mut outcome = Outcome::default();
        for message in batch.messages() {
            if !queued.is_empty() {
                self.0.sockets.event(self.0.encoding, message, &queued);
            }
            let mut recipients = all;
            tight.retain(|session| {
                let fits = self.deliver_one(session, message, &mut due);
                if fits {
                    recipients += 1;
                } else {
                    outcome.slow.push((*session).clone());
                }
                // Who is about to be disconnected gets nothing behind the gap.
                fits || self.0.live.load().slow_consumer == SlowConsumer::Drop
            });
            outcome.recipients.push(recipients);
        }
        outcome
    }

    /// Queues `message` for one; `false` if it does not fit.
    fn deliver_one(&self, session: &Arc<Session>, message: &Message, due: &mut Due) -> bool {
        let frames = OnceCell::new();
        let frames = |generation| frames.get_or_init(|| message.frames(generation));
        match session.link().offer(message.cost(), frames, due) {
            Offered::Ready => {}
            Offered::Queued => self.0.sockets.event(self.0.encoding, message, std::slice::from_ref(session)),
            Offered::Refused => return false,
        }
        true
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
        let frames = message.frames(link.generation());
        match link.offer_acknowledgement(message.cost(), |_| &frames, &mut link.due()) {
            Offered::Ready => {}
            Offered::Queued => self.0.sockets.acknowledgement(encoding, &message, session.id(), ack),
            Offered::Refused => return self.disconnect_slow(session),
        }
        self.0.links.enqueued(message.cost());
    }

    /// Counts what was delivered, and sees to those who were too slow.
    fn settle(&self, name: EventName, batch: &Batch, outcome: Outcome, began: Instant) {
        let messages = batch.messages();
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
