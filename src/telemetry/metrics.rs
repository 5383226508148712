//! The metrics, and the handles that record them without a lookup by name.

use std::time::Duration;

use metrics::Counter;
use metrics::Gauge;
use metrics::Histogram;
use metrics::counter;
use metrics::gauge;
use metrics::histogram;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;

use crate::failure::Failure;
use crate::protocol::EventName;
use crate::protocol::Generation;
use crate::protocol::Refusal;
use crate::protocol::Transport;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::exporter;
use crate::telemetry::reloads::Reloads;

/// All metrics of the daemon.
#[derive(Clone)]
pub struct Metrics {
    /// Bytes on the wire.
    pub traffic: Traffic,
    /// Sessions and how long they last.
    pub connections: Connections,
    /// What the broker does with events.
    pub broker: Broker,
    /// What became of reloads.
    pub reloads: Reloads,
    /// Whether the node is draining: 0 or 1.
    pub draining: Gauge,
    drain_remaining: Gauge,
    queued: Gauge,
    tasks: Gauge,
    exporter: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder and makes every handle; to be called once.
    ///
    /// # Errors
    ///
    /// When a recorder has been installed before.
    pub fn install() -> Result<Self, Failure> {
        let exporter = exporter::install()?;
        let revision = option_env!("HUMBLE_BROKER_REVISION").unwrap_or("unknown");
        gauge!("humble_broker_build_info", "version" => env!("CARGO_PKG_VERSION"), "revision" => revision)
            .set(1);
        Ok(Self {
            traffic: Traffic {
                received: counter!("humble_broker_received_bytes_total"),
                sent: counter!("humble_broker_sent_bytes_total"),
            },
            connections: Connections::new(),
            broker: Broker::new(),
            reloads: Reloads::new(),
            draining: gauge!("humble_broker_draining"),
            drain_remaining: gauge!("humble_broker_drain_connections_remaining"),
            queued: gauge!("humble_broker_send_queue_bytes"),
            tasks: gauge!("tokio_live_tasks_count"),
            exporter,
        })
    }

    /// The metrics in Prometheus' text format; `queued` is what only the moment can tell, the
    /// bytes in the send queues of all sessions.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not 2^53 of either")]
    #[must_use]
    pub fn render(&self, queued: usize) -> String {
        self.queued.set(queued as f64);
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.set(runtime.metrics().num_alive_tasks() as f64);
        }
        self.exporter.render()
    }

    /// How many sessions the drain still has to end.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not 2^53 sessions")]
    pub fn drain_remaining(&self, sessions: usize) {
        self.drain_remaining.set(sessions as f64);
    }

    /// Folds what histograms have collected; to be called every few seconds, or they grow.
    pub fn upkeep(&self) {
        self.exporter.run_upkeep();
    }
}

/// Bytes on the wire, both ways, TCP's own not counted.
#[derive(Clone, Debug)]
pub struct Traffic {
    received: Counter,
    sent: Counter,
}

impl Traffic {
    /// Counts for nobody.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self { received: Counter::noop(), sent: Counter::noop() }
    }

    /// `bytes` have come in.
    pub fn received(&self, bytes: usize) {
        self.received.increment(bytes as u64);
    }

    /// `bytes` have gone out.
    pub fn sent(&self, bytes: usize) {
        self.sent.increment(bytes as u64);
    }
}

/// Engine.IO sessions by transport and generation.
#[derive(Clone, Debug)]
pub struct Connections {
    v3: [Sessions; 2],
    v4: [Sessions; 2],
    duration: Histogram,
}

impl Connections {
    fn new() -> Self {
        let of = |protocol| ["polling", "websocket"].map(|transport| Sessions::new(protocol, transport));
        Self { v3: of("3"), v4: of("4"), duration: histogram!("humble_broker_connection_duration_seconds") }
    }

    /// A session has begun.
    pub fn opened(&self, transport: Transport, generation: Generation) {
        self.by(transport, generation).opened.increment(1);
        self.by(transport, generation).open.increment(1);
    }

    /// A session has gone from polling to WebSocket.
    pub fn upgraded(&self, generation: Generation) {
        self.by(Transport::Polling, generation).open.decrement(1);
        self.by(Transport::WebSocket, generation).open.increment(1);
    }

    /// A session has ended after `duration`.
    pub fn closed(&self, transport: Transport, generation: Generation, duration: Duration) {
        self.by(transport, generation).open.decrement(1);
        self.duration.record(duration);
    }

    fn by(&self, transport: Transport, generation: Generation) -> &Sessions {
        let [polling, websocket] = match generation {
            Generation::V3 => &self.v3,
            Generation::V4 => &self.v4,
        };
        match transport {
            Transport::Polling => polling,
            Transport::WebSocket => websocket,
        }
    }
}

/// Sessions of one generation over one transport.
#[derive(Clone, Debug)]
struct Sessions {
    open: Gauge,
    opened: Counter,
}

impl Sessions {
    fn new(protocol: &'static str, transport: &'static str) -> Self {
        Self {
            open: gauge!("humble_broker_connections", "transport" => transport, "protocol" => protocol),
            opened: counter!("humble_broker_connections_total", "transport" => transport, "protocol" => protocol),
        }
    }
}

/// What the broker does with events.
#[derive(Clone)]
pub struct Broker {
    /// Rooms with at least one subscriber.
    pub rooms: Gauge,
    /// Memberships of all clients together.
    pub subscriptions: Gauge,
    /// Panics that were caught while an event was handled.
    pub panics: Counter,
    /// Messages that a slow client did not get, because its send queue was full.
    pub dropped_slow: Counter,
    /// Clients that each published or broadcast message was queued for.
    pub recipients: Histogram,
    /// Seconds that queueing one message for all its recipients took.
    pub fanout: Histogram,
    events: [Event; EventName::ALL.len()],
    disconnections: [Counter; Disconnection::ALL.len()],
}

impl Broker {
    fn new() -> Self {
        Self {
            rooms: gauge!("humble_broker_rooms"),
            subscriptions: gauge!("humble_broker_subscriptions"),
            panics: counter!("humble_broker_panics_total"),
            dropped_slow: counter!("humble_broker_messages_dropped_total", "reason" => "slow_consumer"),
            recipients: histogram!("humble_broker_fanout_recipients"),
            fanout: histogram!("humble_broker_fanout_duration_seconds"),
            events: EventName::ALL.map(Event::new),
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
        self.recipients.record(recipients);
        self.fanout.record(took);
    }

    /// A client is gone.
    #[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
    pub fn disconnected(&self, reason: Disconnection) {
        self.disconnections[reason as usize].increment(1);
    }

    #[expect(clippy::indexing_slicing, reason = "there is one for each, in the order of the declaration")]
    fn event(&self, name: EventName) -> &Event {
        &self.events[name as usize]
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

/// Counts a request that `route` has answered with `status`.
pub fn request(route: &'static str, status: u16) {
    counter!("humble_broker_http_requests_total", "route" => route, "status" => status.to_string())
        .increment(1);
}

/// Counts a client that was turned away before it had a session.
pub fn refused(reason: &'static str) {
    counter!("humble_broker_connections_refused_total", "reason" => reason).increment(1);
}
