//! Health: which phase of its life the daemon is in.

use tokio::sync::watch;

/// A phase in the life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It ends its sessions and admits nobody.
    Draining,
}

/// What the daemon says about its health.
#[derive(Clone, Debug)]
pub struct Health(watch::Receiver<Phase>);

impl Health {
    /// The health of a daemon that is in this phase.
    #[must_use]
    pub fn new(phase: watch::Receiver<Phase>) -> Self {
        Self(phase)
    }

    /// Why the daemon should not be sent new clients; empty when it should.
    #[must_use]
    pub fn reasons(&self) -> &'static [&'static str] {
        match *self.0.borrow() {
            Phase::Serving => &[],
            Phase::Draining => &["draining"],
        }
    }
}
