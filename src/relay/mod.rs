//! The relay: what clients of this node publish, for those of other nodes, and the other way round.
//!
//! A node serves its own clients first and by itself; what is here is offered to a server that all nodes are
//! connected to, and may be late, or lost, when that server is.

#![cfg_attr(
    not(any(feature = "nats", feature = "redis")),
    expect(dead_code, reason = "nothing comes in a build without either")
)]

mod backoff;
mod connection;
#[cfg(feature = "redis")]
mod emitters;
mod envelope;
#[cfg(any(feature = "nats", feature = "redis"))]
mod files;
mod interest;
mod link;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod queue;
#[cfg(feature = "redis")]
mod redis;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio::time::sleep;

use crate::config;
use crate::protocol::Encoding;
use crate::protocol::Room;
use crate::telemetry::relay::Lost;
use crate::telemetry::relay::Relay as Metrics;

use envelope::Envelope;
use envelope::Unusable;
use interest::Interest;
use node::Node;
use queue::Sender;

pub use connection::check;
pub use link::Link;
pub use queue::Receiver;

/// How often it is looked whether everything has left.
const LOOK: Duration = Duration::from_millis(5);

/// A cheap handle on the relay.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Node,
    encoding: Encoding,
    interest: Interest,
    outgoing: Sender<Outgoing>,
    incoming: Sender<Incoming>,
    /// What has been offered, and has neither been confirmed nor lost.
    pending: AtomicUsize,
    /// Largest message that clients of this node may send.
    largest: usize,
    up: AtomicBool,
    /// How often something has come that shows that the server is alive.
    heard: AtomicU64,
    metrics: Metrics,
}

/// A message for the clients of other nodes.
#[derive(Debug)]
struct Outgoing {
    /// None for everyone.
    room: Option<Room>,
    text: Bytes,
    attachments: VecDeque<Bytes>,
    offered: Instant,
}

/// A message of another node, which nobody has looked into yet.
#[derive(Debug)]
pub struct Incoming {
    /// Whom it is for; none for everyone.
    pub room: Option<Room>,
    /// Rooms and session ids whose clients do not get it.
    pub except: Vec<Box<str>>,
    /// The event array, as clients are to get it.
    pub text: Bytes,
    /// What it refers to.
    pub attachments: VecDeque<Bytes>,
}

impl Relay {
    /// A relay for messages in `encoding` of up to `largest` bytes, the link that carries them, and what
    /// comes over it.
    #[must_use]
    pub fn new(
        config: &config::Relay,
        encoding: Encoding,
        largest: usize,
        metrics: Metrics,
    ) -> (Self, Link, Receiver<Incoming>) {
        let bounds = (config.queue.get(), config.queue_size.bytes());
        let (outgoing, to_send) = queue::new(bounds, metrics.queued_out.clone());
        let (incoming, received) = queue::new(bounds, metrics.queued_in.clone());
        let relay = Self(Arc::new(Inner {
            node: Node::random(),
            encoding,
            interest: Interest::default(),
            outgoing,
            incoming,
            pending: AtomicUsize::new(0),
            largest,
            up: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            metrics,
        }));
        let link = Link::new(relay.clone(), config.clone(), to_send);
        (relay, link, received)
    }

    /// Offers other nodes an event array for those in `room`, or for everyone. It does not wait: what there
    /// is no place for is lost, and counted.
    pub fn offer(&self, room: Option<&Room>, text: &Bytes, attachments: &VecDeque<Bytes>) {
        let bytes = text.len() + attachments.iter().map(Bytes::len).sum::<usize>();
        let outgoing = Outgoing {
            room: room.cloned(),
            text: text.clone(),
            attachments: attachments.clone(),
            offered: Instant::now(),
        };
        self.0.pending.fetch_add(1, Relaxed);
        if !self.0.outgoing.push(bytes, outgoing) {
            self.settled(1);
            self.0.metrics.lost_out(Lost::QueueFull, 1);
        }
    }

    /// The first client of this node is in `room`.
    pub fn joined(&self, room: &Room) {
        self.0.interest.joined(room);
    }

    /// No client of this node is in `room` any more.
    pub fn left(&self, room: &Room) {
        self.0.interest.left(room);
    }

    /// Whether there is a connection to the server.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.up.load(Relaxed)
    }

    /// Waits until everything that was offered has left, or is lost.
    pub async fn flushed(&self) {
        while self.0.pending.load(Relaxed) > 0 {
            sleep(LOOK).await;
        }
    }

    /// A message could not be used, for this reason.
    pub fn unusable(&self, lost: Lost) {
        self.0.metrics.lost_in(lost, 1);
    }

    /// The server, which is the only one, has sent something.
    fn is_alive(&self) {
        self.0.heard.fetch_add(1, Relaxed);
    }

    /// Takes what came in an envelope, over a channel that is that of a room, or of everyone, if `is_its` says so.
    fn receive(&self, payload: Bytes, is_its: impl FnOnce(Option<&Room>) -> bool) {
        let metrics = &self.0.metrics;
        let bytes = payload.len();
        if bytes > self.0.largest.saturating_mul(2).saturating_add(link::ENVELOPE) {
            return metrics.lost_in(Lost::TooLarge, 1);
        }
        let envelope = match Envelope::read(payload) {
            Ok(envelope) => envelope,
            Err(Unusable::Version) => return metrics.lost_in(Lost::UnknownVersion, 1),
            Err(Unusable::Malformed) => return metrics.lost_in(Lost::Malformed, 1),
        };
        if envelope.node == self.0.node {
            return; // Our own clients have it.
        }
        metrics.received.increment(1);
        // Who may publish in one room may not in all.
        if !is_its(envelope.room.as_ref()) {
            return metrics.lost_in(Lost::Malformed, 1);
        }
        if envelope.encoding != self.0.encoding {
            return metrics.lost_in(Lost::OtherParser, 1);
        }
        if !self.0.interest.is_next(&envelope) {
            return metrics.lost_in(Lost::Stale, 1);
        }
        let Envelope { room, text, attachments, .. } = envelope;
        self.pass(bytes, Incoming { room, except: Vec::new(), text, attachments });
    }

    /// Has clients of this node get a message, which keeps so many bytes in memory: whatever is said to be a
    /// message counts with all that it was said in, and its parts with their places.
    fn pass(&self, bytes: usize, incoming: Incoming) {
        let bytes = bytes + incoming.attachments.len() * size_of::<Bytes>();
        if !self.0.incoming.push(bytes, incoming) {
            self.0.metrics.lost_in(Lost::QueueFull, 1);
        }
    }

    /// The server has ended the subscription to `room`, by itself or because it was asked to.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only a cluster of Redis does so"))]
    fn unsubscribed(&self, room: &Room) {
        if self.0.interest.unsubscribed(room) {
            self.0.metrics.subscriptions.decrement(1);
        }
    }

    /// So many of those that were offered wait no longer.
    fn settled(&self, messages: usize) {
        self.0.pending.fetch_sub(messages, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_heard_counts_with_all_that_it_takes_in_memory() {
        let config: config::Relay = toml::from_str("queue_size = \"1 MB\"").unwrap();
        let heard = |room: &Option<Room>, attachments: &VecDeque<Bytes>, sequence| {
            let envelope = Envelope {
                node: Node::random(),
                sequence,
                encoding: Encoding::Json,
                room: room.clone(),
                text: Bytes::from_static(b"hardly any"),
                attachments: attachments.clone(),
            };
            envelope.write()
        };
        let long = Some(Room::Text("x".repeat(600_000).into()));
        let many: VecDeque<_> = vec![Bytes::new(); 20_000].into();
        for (room, attachments) in [(long, VecDeque::new()), (None, many)] {
            let (relay, _link, mut incoming) = Relay::new(&config, Encoding::Json, 1_000_000, Metrics::new());
            for sequence in 1..=3 {
                relay.receive(heard(&room, &attachments, sequence), |_| true);
            }
            assert_eq!(incoming.take(9, usize::MAX).await.len(), 1);
        }
    }
}
