//! The relay, if there is one: made before the broker, and begun once everything is bound.

use crate::broker::Broker;
use crate::config::Config;
use crate::daemon::supervisor::Supervisor;
use crate::failure::Failure;
use crate::relay;
use crate::relay::Incoming;
use crate::relay::Link;
use crate::relay::Receiver;
use crate::relay::Relay;
use crate::telemetry::metrics::Metrics;

/// The way to other nodes, if there is one, and what carries messages both ways.
pub(super) struct Relayed {
    /// The way to other nodes.
    pub(super) relay: Option<Relay>,
    is_required: bool,
    carriers: Option<(Link, Receiver<Incoming>)>,
}

impl Relayed {
    /// What the configuration wants, whose files are read.
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Result<Self, Failure> {
        relay::check(&config.relay)?;
        if !config.relay.is_wanted() {
            return Ok(Self { relay: None, is_required: false, carriers: None });
        }
        let largest = config.limits.max_payload.bytes();
        let (relay, link, incoming) =
            Relay::new(&config.relay, config.socketio.parser, largest, metrics.relay());
        let is_required = config.relay.required;
        Ok(Self { relay: Some(relay), is_required, carriers: Some((link, incoming)) })
    }

    /// The way to other nodes, if this one is of no use without.
    pub(super) fn required(&self) -> Option<Relay> {
        self.relay.clone().filter(|_| self.is_required)
    }

    /// Has messages go both ways from now on.
    pub(super) async fn begin(self, broker: &Broker, supervisor: &mut Supervisor) -> Result<(), Failure> {
        if let Some((mut link, incoming)) = self.carriers {
            link.require().await?;
            supervisor.spawn("relay", link.run());
            supervisor.spawn("peers", broker.clone().hear(incoming));
        }
        Ok(())
    }
}
