//! `[admin]`: what operators and their monitoring ask while the broker runs.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::FilePath;
use crate::config::SocketPath;
use crate::config::text;

/// What operators and their monitoring ask while the broker runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Admin {
    /// Address and port, or unix socket, for `/healthz`, `/readyz` and `/metrics`; they are then
    /// there only. Without one they are on the listener of the clients. Port 0 picks a free one.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,

    /// Whether there is a `/metrics`.
    ///
    /// Default: `true`. Takes effect: at restart.
    pub metrics: bool,

    /// File with a token, and nothing else, without which `/readyz` and `/metrics` are refused:
    /// `Authorization: Bearer …`. `/healthz` stays open.
    ///
    /// Default: none. Takes effect: on reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<FilePath>,

    /// Path of a unix socket, for the broker's own user only, over which
    /// `socketio-humble-broker reload` asks for a reload and waits for its outcome.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_socket: Option<SocketPath>,
}

impl Admin {
    /// This section, with everything of `wanted` that a reload can change.
    pub(super) fn reloaded(&self, wanted: &Self) -> Self {
        Self {
            listen: self.listen.clone(),
            metrics: self.metrics,
            token_file: wanted.token_file.clone(),
            control_socket: self.control_socket.clone(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: None, metrics: true, token_file: None, control_socket: None }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Listen {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A unix socket, for the broker's own user and group.
    Unix(SocketPath),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.parse().map(Self::Unix);
        }
        let form = "write an IP address and a port, like `127.0.0.1:9091` or `[::1]:9091`, or `unix:/path`";
        text.parse().map(Self::Tcp).map_err(|_| format!("`{text}` is not an address; {form}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_tcp_or_a_unix_socket() {
        for text in ["127.0.0.1:9091", "[::1]:9091", "0.0.0.0:0", "unix:/run/admin.sock"] {
            let admin: Admin = toml::from_str(&format!("listen = '{text}'")).unwrap();
            assert_eq!(admin.listen.unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_the_way_to_write_one() {
        for text in ["", "9091", ":9091", "127.0.0.1", "localhost:9091", "127.0.0.1:65536", "/run/admin.sock"]
        {
            let refusal = toml::from_str::<Admin>(&format!("listen = '{text}'")).unwrap_err();
            let expected = format!("`{text}` is not an address; write an IP address and a port");
            assert!(refusal.message().starts_with(&expected), "{refusal}");
        }
        let refusal = toml::from_str::<Admin>("listen = 'unix:admin.sock'").unwrap_err();
        assert!(refusal.message().starts_with("`admin.sock` is not the path of a socket"), "{refusal}");
    }
}
