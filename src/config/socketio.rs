//! `[socketio]`: how clients are spoken to.

use serde::Deserialize;
use serde::Serialize;

use crate::config::Period;
use crate::protocol::Encoding;
use crate::protocol::Transport;

/// How clients are spoken to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct SocketIo {
    /// The transports that clients may use.
    ///
    /// Default: `["polling", "websocket"]`. Takes effect: at restart.
    pub transports: Transports,

    /// Whether clients of Engine.IO 3 are served (JS client 2, python-socketio 4).
    ///
    /// Default: `true`. Takes effect: at restart.
    pub engine_io_3: bool,

    /// What messages are written in; every client must use the same.
    ///
    /// Default: `"json"`. Takes effect: at restart.
    pub parser: Encoding,

    /// Time between two heartbeats.
    ///
    /// Default: `"25s"`. Takes effect: at restart.
    pub ping_interval: Period,

    /// Longest time that a client may take to answer a heartbeat; after it the connection is closed.
    ///
    /// Default: `"20s"`. Takes effect: at restart.
    pub ping_timeout: Period,

    /// Longest time from opening a connection to the Socket.IO handshake; after it the connection is
    /// closed.
    ///
    /// Default: `"10s"`. Takes effect: at restart.
    pub connect_timeout: Period,

    /// Longest time that an upgrade from polling to WebSocket may take; after it the client stays
    /// with polling.
    ///
    /// Default: `"10s"`. Takes effect: at restart.
    pub upgrade_timeout: Period,
}

impl Default for SocketIo {
    fn default() -> Self {
        Self {
            transports: Transports(vec![Transport::Polling, Transport::WebSocket]),
            engine_io_3: true,
            parser: Encoding::Json,
            ping_interval: Period::seconds(25),
            ping_timeout: Period::seconds(20),
            connect_timeout: Period::seconds(10),
            upgrade_timeout: Period::seconds(10),
        }
    }
}

/// The transports that clients may use: at least one, each once.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "Vec<Transport>", into = "Vec<Transport>")]
pub struct Transports(Vec<Transport>);

impl Transports {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Transport] {
        &self.0
    }
}

impl TryFrom<Vec<Transport>> for Transports {
    type Error = &'static str;

    fn try_from(transports: Vec<Transport>) -> Result<Self, &'static str> {
        match transports.as_slice() {
            [] => Err("no transport is left; write `polling`, `websocket` or both"),
            [first, second] if first != second => Ok(Self(transports)),
            [_] => Ok(Self(transports)),
            _ => Err("a transport stands here twice; write each once"),
        }
    }
}

impl From<Transports> for Vec<Transport> {
    fn from(transports: Transports) -> Self {
        transports.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transports(list: &str) -> Result<Transports, toml::de::Error> {
        toml::from_str::<SocketIo>(&format!("transports = {list}")).map(|socketio| socketio.transports)
    }

    #[test]
    fn each_transport_may_be_offered_alone() {
        assert_eq!(transports("['polling']").unwrap().as_slice(), [Transport::Polling]);
        assert_eq!(transports("['websocket']").unwrap().as_slice(), [Transport::WebSocket]);
        let both = transports("['websocket', 'polling']").unwrap();
        assert_eq!(both.as_slice(), [Transport::WebSocket, Transport::Polling]);
    }

    #[test]
    fn transports_are_neither_missing_nor_repeated() {
        let cases = [
            ("[]", "no transport is left; write `polling`, `websocket` or both"),
            ("['polling', 'polling']", "a transport stands here twice; write each once"),
            ("['polling', 'websocket', 'polling']", "a transport stands here twice; write each once"),
            ("['webtransport']", "unknown variant `webtransport`, expected `polling` or `websocket`"),
        ];
        for (list, refusal) in cases {
            assert_eq!(transports(list).unwrap_err().message(), refusal);
        }
    }
}
