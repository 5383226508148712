//! The ways in which clients reach us: generations of Engine.IO, and its transports.

use serde::Deserialize;
use serde::Serialize;

/// A generation of the Engine.IO protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Engine.IO 3: JS client 2, python-socketio 4.
    V3,
    /// Engine.IO 4: JS client 3 and 4, python-socketio 5.
    V4,
}

/// How a session's packets travel.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket, from the start or after an upgrade.
    WebSocket,
}
