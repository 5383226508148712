//! Health: which phase of its life the daemon is in.

use tokio::sync::watch;

use crate::http::gate::Gate;
use crate::http::gate::Standing;
use crate::relay::Relay;

/// A phase in the life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves, and should not be sent new clients, as it is about to end.
    Draining,
    /// It ends its sessions and admits nobody.
    Ending,
}

/// What the daemon says about its health.
#[derive(Clone, Debug)]
pub struct Health {
    phase: watch::Receiver<Phase>,
    gate: Gate,
    /// What the daemon is of no use without.
    required: Option<Relay>,
}

impl Health {
    /// The health of a daemon that is in this phase, lets clients in through this gate, and may not do
    /// without a relay.
    #[must_use]
    pub fn new(phase: watch::Receiver<Phase>, gate: Gate, required: Option<Relay>) -> Self {
        Self { phase, gate, required }
    }

    /// Whether it ends its sessions and admits nobody.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        *self.phase.borrow() == Phase::Ending
    }

    /// Why the daemon should not be sent new clients; empty when it should. `standing` is that of
    /// the connection of who asks.
    #[must_use]
    pub(super) fn reasons(&self, standing: Option<&Standing>) -> Vec<&'static str> {
        let draining = *self.phase.borrow() != Phase::Serving;
        let alone = self.required.as_ref().is_some_and(|relay| !relay.is_up());
        let full = self.gate.is_exhausted(standing);
        let reasons = [(draining, "draining"), (alone, "relay_down"), (full, "connections_exhausted")];
        reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }
}
