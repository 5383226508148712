//! Peers: what clients of other nodes have published, for those of this one.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use bytes::Bytes;
use tokio::task::yield_now;

use crate::broker::Broker;
use crate::broker::message::Message;
use crate::broker::session::Session;
use crate::protocol::Attachments;
use crate::protocol::Emitted;
use crate::protocol::Refusal;
use crate::protocol::Room;
use crate::relay::Incoming;
use crate::relay::Receiver;
use crate::relay::Relay;
use crate::telemetry::relay::Lost;
use crate::wire::due::Due;

/// Messages that are delivered before others have a turn.
const MESSAGES: usize = 256;
/// Bytes beyond which no more are added to them.
const BYTES: usize = 256 * 1024;

impl Broker {
    /// Delivers what comes from other nodes, until nothing more can come.
    pub async fn hear(self, mut incoming: Receiver<Incoming>) {
        loop {
            let taken = incoming.take(MESSAGES, BYTES).await;
            if taken.is_empty() {
                return;
            }
            let mut due = Due::default();
            // As for an event: what is lost then is these messages, and not the relay.
            if catch_unwind(AssertUnwindSafe(|| self.deliver_heard(taken, &mut due))).is_err() {
                self.0.metrics.panics.increment(1);
            }
            due.write(&self.0.links);
            yield_now().await;
        }
    }

    fn deliver_heard(&self, incoming: Vec<Incoming>, due: &mut Due) {
        let mut row: Option<Room> = None;
        let mut messages = Vec::new();
        for incoming in incoming {
            let message = match self.checked(&incoming) {
                Ok(message) => message,
                Err(lost) => {
                    self.0.relay.iter().for_each(|relay| relay.unusable(lost));
                    continue;
                }
            };
            if incoming.room != row || !incoming.except.is_empty() {
                self.publish_heard(row.as_ref(), &std::mem::take(&mut messages), due);
                row.clone_from(&incoming.room);
            }
            match incoming.room {
                _ if !incoming.except.is_empty() => self.deliver_except(&incoming, message, due),
                Some(_) => messages.push(message),
                None => self.broadcast_to(|_| true, &[message], due),
            }
        }
        self.publish_heard(row.as_ref(), &messages, due);
    }

    fn publish_heard(&self, room: Option<&Room>, messages: &[Message], due: &mut Due) {
        if let Some(room) = room
            && !messages.is_empty()
        {
            self.publish_to(room, |_| true, messages, due);
        }
    }

    /// Delivers what is not for everyone who would get it otherwise.
    fn deliver_except(&self, incoming: &Incoming, message: Message, due: &mut Due) {
        let mut excepted = HashSet::new();
        for name in &incoming.except {
            // In an emitter's language a number may have been either.
            let text = Room::Text(name.clone());
            for room in text.number().map(Room::Integer).into_iter().chain([text]) {
                self.0.members.in_room(&room, |members| excepted.extend(members.keys().copied()));
            }
        }
        let except: HashSet<&str> = incoming.except.iter().map(|name| &**name).collect();
        let wanted = |session: &Session| {
            !excepted.contains(&session.id()) && !except.contains(&*session.id().to_string())
        };
        match &incoming.room {
            Some(room) => self.publish_to(room, wanted, &[message], due),
            None => self.broadcast_to(wanted, &[message], due),
        }
    }

    /// The message, if a client might have sent it.
    fn checked(&self, incoming: &Incoming) -> Result<Message, Lost> {
        let Incoming { room, except: _, text, attachments } = incoming;
        let sizes: Attachments = attachments.iter().map(Bytes::len).collect();
        let emitted = self.0.encoding.parse_emitted(text, sizes, &self.0.live.load().bounds);
        let named = match emitted {
            Ok(Emitted::Data(named)) => Some(named),
            Ok(Emitted::Broadcast) => None,
            Err(Refusal::TooLarge) => return Err(Lost::TooLarge),
            Err(_) => return Err(Lost::Malformed),
        };
        if *room != named {
            return Err(Lost::Malformed);
        }
        Ok(Message::event(self.0.encoding, text, attachments))
    }

    /// Offers other nodes what clients of this one have got already.
    pub(super) fn offer_peers(&self, room: Option<&Room>, messages: &[Message]) {
        let offer = |relay: &Relay| {
            for message in messages {
                relay.offer(room, message.arguments(), message.attachments());
            }
        };
        self.0.relay.iter().for_each(offer);
    }
}
