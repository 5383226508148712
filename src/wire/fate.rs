//! The fate of a session: why we end it, and what becomes of the stream that carries it.

use std::sync::Arc;
use std::sync::OnceLock;

use crate::telemetry::disconnection::Disconnection;
use crate::wire::guard::Kill;

/// Why we end a session, once we do, and what ends the stream under its WebSocket.
#[derive(Debug, Default)]
pub struct Fate {
    cause: OnceLock<Disconnection>,
    stream: OnceLock<Arc<Kill>>,
}

impl Fate {
    /// The session's packets travel over the stream that `kill` ends.
    pub fn carried_by(&self, kill: Arc<Kill>) {
        // A session has one WebSocket.
        let _ = self.stream.set(kill);
    }

    /// We end the session for `cause`: from now on its client's events are refused.
    pub fn condemn(&self, cause: Disconnection) {
        // The first cause counts.
        let _ = self.cause.set(cause);
    }

    /// Why we end the session, if we do.
    #[must_use]
    pub fn cause(&self) -> Option<Disconnection> {
        self.cause.get().copied().or_else(|| self.stream.get()?.cause())
    }

    /// Ends the stream under the session's WebSocket, if it has one, without another word.
    pub(super) fn kill(&self, cause: Disconnection) {
        self.condemn(cause);
        if let Some(stream) = self.stream.get() {
            stream.strike(cause);
        }
    }

    /// What the system still holds for the client is not sent any more once its WebSocket is gone.
    pub(super) fn discard(&self) {
        if let Some(stream) = self.stream.get() {
            stream.discard();
        }
    }
}
