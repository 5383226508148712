//! What is recorded of the relay.

use std::time::Duration;

use metrics::Counter;
use metrics::Gauge;
use metrics::counter;
use metrics::gauge;

use crate::telemetry::distribution::Distribution;
use crate::telemetry::distribution::Scale;

/// In nanoseconds, from a server on the same machine to one that has been away for a while.
const LATENCY: &[u64] = &[
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
];

/// What is recorded of the relay.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Whether there is a connection: 0 or 1.
    pub up: Gauge,
    /// Messages that the server has taken.
    pub published: Counter,
    /// Messages of other nodes.
    pub received: Counter,
    /// Attempts to connect again.
    pub reconnects: Counter,
    /// Rooms that are subscribed to.
    pub subscriptions: Gauge,
    /// Messages that wait to leave.
    pub queued_out: Gauge,
    /// Messages of other nodes that wait to be delivered.
    pub queued_in: Gauge,
    latency: Distribution,
    lost: [[Counter; Lost::ALL.len()]; 2],
}

/// Why a message did not reach, or was not taken from, other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There was no place for it.
    QueueFull,
    /// It is larger than the server takes, or larger than what this node takes.
    TooLarge,
    /// The connection broke before the server had confirmed it.
    Unconfirmed,
    /// It is no message.
    Malformed,
    /// Its envelope is of a version that is not known.
    UnknownVersion,
    /// It is written for another `socketio.parser`.
    OtherParser,
    /// It came after a later one of the same node, or again.
    Stale,
    /// An emitter asks for what this broker does not do.
    Unsupported,
}

impl Lost {
    const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::TooLarge,
        Self::Unconfirmed,
        Self::Malformed,
        Self::UnknownVersion,
        Self::OtherParser,
        Self::Stale,
        Self::Unsupported,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Unconfirmed => "unconfirmed",
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::OtherParser => "other_parser",
            Self::Stale => "stale",
            Self::Unsupported => "unsupported",
        }
    }
}

impl Relay {
    pub(crate) fn new() -> Self {
        let queued = |direction| gauge!("humble_broker_relay_queue_messages", "direction" => direction);
        let lost = |direction| {
            Lost::ALL.map(|lost| {
                counter!("humble_broker_relay_dropped_total", "direction" => direction, "reason" => lost.label())
            })
        };
        Self {
            up: gauge!("humble_broker_relay_up"),
            published: counter!("humble_broker_relay_published_total"),
            received: counter!("humble_broker_relay_received_total"),
            reconnects: counter!("humble_broker_relay_reconnects_total"),
            subscriptions: gauge!("humble_broker_relay_subscriptions"),
            queued_out: queued("out"),
            queued_in: queued("in"),
            latency: Distribution::new(Scale {
                name: "humble_broker_relay_latency_seconds",
                help: "from the offer of a message until the server has confirmed it",
                bounds: LATENCY,
                per_unit: 1_000_000_000,
            }),
            lost: [lost("out"), lost("in")],
        }
    }

    /// Messages did not leave.
    pub fn lost_out(&self, lost: Lost, messages: usize) {
        let [out, _] = &self.lost;
        count(out, lost, messages);
    }

    /// Messages of other nodes were not delivered.
    pub fn lost_in(&self, lost: Lost, messages: usize) {
        let [_, incoming] = &self.lost;
        count(incoming, lost, messages);
    }

    /// The server has confirmed a message, so long after it was offered.
    pub fn confirmed_after(&self, time: Duration) {
        self.latency.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Appends what the exporter does not know.
    pub(super) fn render(&self, text: &mut String) {
        self.latency.render(text);
    }
}

#[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
fn count(counters: &[Counter; Lost::ALL.len()], lost: Lost, messages: usize) {
    counters[lost as usize].increment(messages as u64);
}
