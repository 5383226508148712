//! The signals that tell the daemon what to do.

use std::fmt;

use futures_util::StreamExt;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use tracing::warn;

use crate::failure::Failure;

/// A wish of whoever runs the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// End: SIGTERM, as service managers say it.
    Terminate,
    /// End: SIGINT, as a terminal says it.
    Interrupt,
    /// Read the configuration again: SIGHUP.
    Reload,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Reload => "SIGHUP",
        })
    }
}

/// The stream of signals. Rust's runtime ignores SIGPIPE already.
pub(super) struct Signals(signal_hook_tokio::Signals);

impl Signals {
    /// From now on signals are heard, and no longer end the process.
    pub(super) fn register() -> Result<Self, Failure> {
        signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP])
            .map(Self)
            .map_err(|error| Failure::Internal(format!("cannot listen for signals: {error}")))
    }

    /// Waits for the next signal that ends the daemon.
    pub(super) async fn end(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Reload => warn!("SIGHUP: not reloading, as the broker is shutting down"),
                signal => return signal,
            }
        }
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        match self.0.next().await {
            Some(SIGINT) => Signal::Interrupt,
            Some(SIGHUP) => Signal::Reload,
            _ => Signal::Terminate,
        }
    }
}
