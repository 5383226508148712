//! `[admin]`: what operators and their monitoring ask while the broker runs.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::text;

/// What operators and their monitoring ask while the broker runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Admin {
    /// Address and port for `/healthz`, `/readyz` and `/metrics`; they are then there only. Without
    /// one they are on the listener of the clients. Port 0 picks a free one.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(deserialize_with = "listen", skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,

    /// Whether there is a `/metrics`.
    ///
    /// Default: `true`. Takes effect: at restart.
    pub metrics: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: None, metrics: true }
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    text::read(deserializer, address).map(Some)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let form = "write an IP address and a port, like `127.0.0.1:9091` or `[::1]:9091`";
    text.parse().map_err(|_| format!("`{text}` is not a TCP address; {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_and_a_port() {
        let cases = ["127.0.0.1:9091", "[::1]:9091", "0.0.0.0:0"];
        for text in cases {
            let admin: Admin = toml::from_str(&format!("listen = '{text}'")).unwrap();
            assert_eq!(admin.listen, text.parse().ok());
        }
    }

    #[test]
    fn what_is_not_a_tcp_address_is_refused_with_the_way_to_write_one() {
        for text in
            ["", "9091", ":9091", "127.0.0.1", "localhost:9091", "127.0.0.1:65536", "unix:/run/admin.sock"]
        {
            let refusal = toml::from_str::<Admin>(&format!("listen = '{text}'")).unwrap_err();
            let expected = format!("`{text}` is not a TCP address; write an IP address and a port");
            assert!(refusal.message().starts_with(&expected), "{refusal}");
        }
    }
}
