//! Health: which phase of its life the daemon is in.

use tokio::sync::watch;

use crate::http::gate::Gate;
use crate::http::gate::Standing;

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
}

impl Health {
    /// The health of a daemon that is in this phase, and lets clients in through this gate.
    #[must_use]
    pub fn new(phase: watch::Receiver<Phase>, gate: Gate) -> Self {
        Self { phase, gate }
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
        let reasons = [(draining, "draining"), (self.gate.is_exhausted(standing), "connections_exhausted")];
        reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
    }
}
