//! The metrics, and the handles that record them without a lookup by name.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Counter;
use metrics::Gauge;
use metrics::Histogram;
use metrics::counter;
use metrics::gauge;
use metrics::histogram;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::failure::Failure;
use crate::protocol::Generation;
use crate::protocol::Transport;
use crate::telemetry::events::Events;
use crate::telemetry::exporter;
use crate::telemetry::relay::Relay;
use crate::telemetry::reloads::Reloads;
use crate::telemetry::requests::Requests;
use crate::telemetry::runtime::Runtime;

/// All metrics of the daemon.
#[derive(Clone)]
pub struct Metrics {
    /// Bytes on the wire.
    pub traffic: Traffic,
    /// Sessions and how long they last.
    pub connections: Connections,
    /// What the broker does with events.
    pub events: Events,
    /// What was asked over HTTP.
    pub requests: Requests,
    /// What became of reloads.
    pub reloads: Reloads,
    /// What is recorded of the relay, if there is one.
    relay: Arc<OnceLock<Relay>>,
    /// Whether the node is draining: 0 or 1.
    pub draining: Gauge,
    drain_remaining: Gauge,
    queued: Gauge,
    runtime: Runtime,
    exporter: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder and makes every handle; to be called once.
    ///
    /// # Errors
    ///
    /// When a recorder has been installed before.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio, which the metrics tell about.
    pub fn install() -> Result<Self, Failure> {
        let exporter = exporter::install()?;
        let revision = option_env!("HUMBLE_BROKER_REVISION").unwrap_or("unknown");
        gauge!("humble_broker_build_info", "version" => env!("CARGO_PKG_VERSION"), "revision" => revision)
            .set(1);
        Ok(Self {
            traffic: Traffic::new(
                counter!("humble_broker_received_bytes_total"),
                counter!("humble_broker_sent_bytes_total"),
            ),
            connections: Connections::new(),
            events: Events::new(),
            requests: Requests::default(),
            reloads: Reloads::new(),
            relay: Arc::default(),
            draining: gauge!("humble_broker_draining"),
            drain_remaining: gauge!("humble_broker_drain_connections_remaining"),
            queued: gauge!("humble_broker_send_queue_bytes"),
            runtime: Runtime::new(),
            exporter,
        })
    }

    /// The metrics in Prometheus' text format; `queued` is what only the moment can tell, the
    /// bytes in the send queues of all sessions.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not 2^53 bytes")]
    #[must_use]
    pub fn render(&self, queued: usize) -> String {
        self.queued.set(queued as f64);
        self.runtime.look();
        let mut text = self.exporter.render();
        self.events.recipients.render(&mut text);
        self.events.fanout.render(&mut text);
        if let Some(relay) = self.relay.get() {
            relay.render(&mut text);
        }
        text
    }

    /// What is recorded of the relay; it is shown from the first call on.
    #[must_use]
    pub fn relay(&self) -> Relay {
        self.relay.get_or_init(Relay::new).clone()
    }

    /// How many sessions the drain still has to end.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not 2^53 sessions")]
    pub fn drain_remaining(&self, sessions: usize) {
        self.drain_remaining.set(sessions as f64);
    }

    /// Folds what histograms have collected, which else would grow, and sees how busy the worker
    /// threads were since the last call; to be called every few seconds.
    pub fn upkeep(&self) {
        self.runtime.upkeep();
        self.exporter.run_upkeep();
    }
}

/// Bytes on the wire, both ways, TCP's own not counted.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<[Counter; 2]>);

impl Traffic {
    fn new(received: Counter, sent: Counter) -> Self {
        Self(Arc::new([received, sent]))
    }

    /// Counts for nobody.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self::new(Counter::noop(), Counter::noop())
    }

    /// `bytes` have come in.
    pub fn received(&self, bytes: usize) {
        let [received, _] = &*self.0;
        received.increment(bytes as u64);
    }

    /// `bytes` have gone out.
    pub fn sent(&self, bytes: usize) {
        let [_, sent] = &*self.0;
        sent.increment(bytes as u64);
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

    /// Counts for nobody.
    #[cfg(test)]
    pub(crate) fn unheard() -> Self {
        Self::new()
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

/// Counts a client that was turned away before it had a session.
pub fn refused(reason: &'static str) {
    counter!("humble_broker_connections_refused_total", "reason" => reason).increment(1);
}
