//! What is recorded of events, without a lookup by name.

use std::time::Duration;

use metrics::Counter;
use metrics::Gauge;
use metrics::counter;
use metrics::gauge;

use crate::protocol::EventName;
use crate::protocol::Refusal;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::distribution::Distribution;
use crate::telemetry::distribution::Scale;

/// Nobody, a device's owner, a dashboard's viewers, everybody.
const RECIPIENTS: &[u64] = &[0, 1, 2, 5, 10, 30, 100, 300, 1_000, 10_000, 100_000];
/// In nanoseconds, from an idle room's microseconds to a second for a very large one on a busy machine.
const FANOUT: &[u64] = &[
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    1_000_000_000,
];

/// What the broker does with events.
#[derive(Clone)]
pub struct Events {
    /// Rooms with at least one subscriber.
    pub rooms: Gauge,
    /// Memberships of all clients together.
    pub subscriptions: Gauge,
    /// Panics that were caught while an event was handled.
    pub panics: Counter,
    /// Messages that a slow client did not get, because its send queue was full.
    pub dropped_slow: Counter,
    /// Clients that each published or broadcast message was queued for.
    pub recipients: Distribution,
    /// How long queueing one message for all its recipients took.
    pub fanout: Distribution,
    kinds: [Event; EventName::ALL.len()],
    disconnections: [Counter; Disconnection::ALL.len()],
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            rooms: gauge!("humble_broker_rooms"),
            subscriptions: gauge!("humble_broker_subscriptions"),
            panics: counter!("humble_broker_panics_total"),
            dropped_slow: counter!("humble_broker_messages_dropped_total", "reason" => "slow_consumer"),
            recipients: Distribution::new(Scale {
                name: "humble_broker_fanout_recipients",
                help: "recipients of each message",
                bounds: RECIPIENTS,
                per_unit: 1,
            }),
            fanout: Distribution::new(Scale {
                name: "humble_broker_fanout_duration_seconds",
                help: "queueing one message for all its recipients",
                bounds: FANOUT,
                per_unit: 1_000_000_000,
            }),
            kinds: EventName::ALL.map(Event::new),
            disconnections: Disconnection::ALL
                .map(|reason| counter!("humble_broker_disconnections_total", "reason" => reason.label())),
        }
    }

    /// An event of `bytes` bytes, attachments included, has ended with `outcome`.
    pub fn handled(&self, name: EventName, bytes: usize, outcome: Result<(), Refusal>) {
        let event = self.event(name);
        event.received_bytes.increment(bytes as u64);
        event.outcome(outcome).increment(1);
    }

    /// A message of `bytes` bytes has been queued for `recipients` clients.
    pub fn delivered(&self, name: EventName, bytes: usize, recipients: u32, took: Duration) {
        let event = self.event(name);
        event.delivered.increment(u64::from(recipients));
        event.delivered_bytes.increment(u64::from(recipients) * bytes as u64);
        self.recipients.record(recipients.into());
        self.fanout.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A client is gone.
    #[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
    pub fn disconnected(&self, reason: Disconnection) {
        self.disconnections[reason as usize].increment(1);
    }

    #[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
    fn event(&self, name: EventName) -> &Event {
        &self.kinds[name as usize]
    }
}

/// What is recorded of one kind of event.
#[derive(Clone)]
struct Event {
    outcomes: [Counter; OUTCOMES.len()],
    received_bytes: Counter,
    delivered: Counter,
    delivered_bytes: Counter,
}

/// How an event ends: well, or with the code of a refusal.
const OUTCOMES: [&str; 9] = [
    "ok",
    "malformed",
    "unknown_event",
    "invalid_room",
    "forbidden",
    "too_many_rooms",
    "rate_limited",
    "too_large",
    "shutting_down",
];

impl Event {
    fn new(name: EventName) -> Self {
        let event = name.as_str();
        Self {
            outcomes: OUTCOMES.map(
                |outcome| counter!("humble_broker_events_total", "event" => event, "outcome" => outcome),
            ),
            received_bytes: counter!("humble_broker_messages_received_bytes_total", "event" => event),
            delivered: counter!("humble_broker_messages_delivered_total", "event" => event),
            delivered_bytes: counter!("humble_broker_messages_delivered_bytes_total", "event" => event),
        }
    }

    fn outcome(&self, outcome: Result<(), Refusal>) -> &Counter {
        let [
            ok,
            malformed,
            unknown_event,
            invalid_room,
            forbidden,
            too_many_rooms,
            rate_limited,
            too_large,
            shutting_down,
        ] = &self.outcomes;
        match outcome {
            Ok(()) => ok,
            Err(Refusal::Malformed(_)) => malformed,
            Err(Refusal::UnknownEvent) => unknown_event,
            Err(Refusal::InvalidRoom(_)) => invalid_room,
            Err(Refusal::Forbidden) => forbidden,
            Err(Refusal::TooManyRooms) => too_many_rooms,
            Err(Refusal::RateLimited) => rate_limited,
            Err(Refusal::TooLarge) => too_large,
            Err(Refusal::ShuttingDown) => shutting_down,
        }
    }
}
