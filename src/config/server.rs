//! `[server]`: where and for whom the broker listens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::Origins;
use crate::config::Proxies;
use crate::config::SocketMode;
use crate::config::SocketPath;
use crate::config::Tls;
use crate::config::contradiction::Contradiction;
use crate::config::contradiction::Step;
use crate::config::table;
use crate::config::text;

/// Where and for whom the broker listens.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Server {
    /// Address to listen on, or a name that stands for one. `"::"` is every address of this
    /// machine, of IPv6 and IPv4.
    ///
    /// Default: `"0.0.0.0"`. Takes effect: at restart.
    pub host: Host,

    /// Port to listen on; 0 picks a free one.
    ///
    /// Default: `5000`. Takes effect: at restart.
    pub port: u16,

    /// Path of a unix socket to listen on, instead of `host` and `port`.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<SocketPath>,

    /// Permissions of the unix socket: who may write to it may connect.
    ///
    /// Default: `"0660"`. Takes effect: at restart.
    pub unix_socket_mode: SocketMode,

    /// Path under which clients connect. A slash at its end makes no difference.
    ///
    /// Default: `"/socket.io"`. Takes effect: at restart.
    pub path: RequestPath,

    /// Origins of web pages that may connect, for long-polling as for WebSocket. A client that is
    /// not a browser names no origin, and may always connect. The certificate of a browser counts only
    /// for pages that are named, and `*` names none.
    ///
    /// Default: `["*"]`. Takes effect: on reload; nobody who is connected is disconnected.
    pub allowed_origins: Origins,

    /// Peers whose `X-Forwarded-For` counts, and who begin with a header of the PROXY protocol if
    /// `proxy_protocol` says so: addresses, networks, and `"unix"` for those of the unix socket.
    ///
    /// Default: `[]`. Takes effect: at restart.
    pub trusted_proxies: Proxies,

    /// Whether connections of `trusted_proxies` begin with a header of the PROXY protocol, version
    /// 1 or 2. They then must; those of all others must not.
    ///
    /// Default: `false`. Takes effect: at restart.
    pub proxy_protocol: bool,

    /// Threads that serve connections; 0 is one per core.
    ///
    /// Default: `0`. Takes effect: at restart.
    workers: u16,

    /// What encrypts the connections of clients; without it they are not encrypted.
    ///
    /// Default: none. Takes effect: at restart; its files are read again on reload.
    #[serde(deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Server {
    /// This section, with everything of `wanted` that a reload can change.
    pub(super) fn reloaded(&self, wanted: &Self) -> Self {
        let tls = match (&self.tls, &wanted.tls) {
            (Some(_), Some(wanted)) => Some(wanted.clone()),
            (own, _) => own.clone(),
        };
        Self {
            host: self.host.clone(),
            port: self.port,
            unix_socket: self.unix_socket.clone(),
            unix_socket_mode: self.unix_socket_mode,
            path: self.path.clone(),
            allowed_origins: wanted.allowed_origins.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol,
            workers: self.workers,
            tls,
        }
    }

    /// What is wrong between keys.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let lonely = self.proxy_protocol && self.trusted_proxies.is_empty();
        lonely.then(|| {
            let place = vec![Step::Key("server"), Step::Key("proxy_protocol")];
            let message = "nobody is trusted to send a header; write the proxies into `trusted_proxies`";
            Contradiction::new(place, message)
        })
    }

    /// Threads that serve connections; `None` is one per core.
    #[must_use]
    pub fn workers(&self) -> Option<usize> {
        (self.workers > 0).then_some(self.workers.into())
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: Host("0.0.0.0".to_owned()),
            port: 5000,
            unix_socket: None,
            unix_socket_mode: SocketMode::OWNER_AND_GROUP,
            path: RequestPath("/socket.io".to_owned()),
            allowed_origins: Origins::any(),
            trusted_proxies: Proxies::default(),
            proxy_protocol: false,
            workers: 0,
            tls: None,
        }
    }
}

/// An IP address or the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Host(String);

impl Host {
    /// As the system's resolver takes it: an IPv6 address has no brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is not a host; write an IP address or a name, without a port, like `0.0.0.0` or `::`"
        ))
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is letters, digits, hyphens and underscores between single dots, and cannot be
/// mistaken for an address.
pub(super) fn is_host_name(text: &str) -> bool {
    let letter = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-' || letter == b'_';
    let address = text.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.');
    !address && text.split('.').all(|label| !label.is_empty() && label.bytes().all(letter))
}

/// The path of a request, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct RequestPath(String);

/// Where operators ask, on the same listener unless `admin.listen` is set.
const TAKEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

impl RequestPath {
    /// The path; it is `/` if that is all of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RequestPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl FromStr for RequestPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
        if !text.starts_with('/') || text.contains("//") || !text.chars().all(letter) {
            let form = "write a slash and a name of letters, digits and `-._~`, like `/socket.io`";
            return Err(format!("`{text}` is not a path; {form}"));
        }
        let path = text.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(text);
        if TAKEN.contains(&path) {
            return Err(format!("`{text}` is where operators ask; write another path, like `/socket.io`"));
        }
        Ok(Self(path.to_owned()))
    }
}

impl From<RequestPath> for String {
    fn from(path: RequestPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Result<Server, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for text in
            ["0.0.0.0", "127.0.0.1", "::", "::1", "localhost", "broker.example.com", "my-host", "a_b", "4you"]
        {
            assert_eq!(
                server(&format!("host = '{text}'")).map(|server| server.host.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused_with_the_way_to_write_one() {
        for text in [
            "",
            "[::1]",
            "localhost:5000",
            "127.0.0.1:80",
            "http://a",
            "a b",
            "a..b",
            ".",
            "256.1.1.1",
            "127.1",
        ] {
            let refusal = server(&format!("host = '{text}'")).unwrap_err();
            assert!(
                refusal.starts_with(&format!("`{text}` is not a host; write an IP address or a name")),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_path_loses_the_slash_at_its_end() {
        let cases = [
            ("/socket.io", "/socket.io"),
            ("/socket.io/", "/socket.io"),
            ("/a/b-c_~1/", "/a/b-c_~1"),
            ("/", "/"),
        ];
        for (text, expected) in cases {
            let server = server(&format!("path = '{text}'")).unwrap();
            assert_eq!(server.path.as_str(), expected);
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused_with_the_way_to_write_one() {
        for text in ["", "socket.io", "/a?b", "/a#b", "/a b", "/{room}", "//", "/a//", "/%41", "/é", "/*"] {
            let refusal = server(&format!("path = '{text}'")).unwrap_err();
            assert!(
                refusal.starts_with(&format!("`{text}` is not a path; write a slash and a name")),
                "{refusal}"
            );
        }
        for text in ["/healthz", "/readyz/", "/metrics"] {
            let refusal = server(&format!("path = '{text}'")).unwrap_err();
            assert!(refusal.starts_with(&format!("`{text}` is where operators ask")), "{refusal}");
        }
    }

    #[test]
    fn no_number_of_workers_means_one_per_core() {
        assert_eq!(Server::default().workers(), None);
        assert_eq!(server("workers = 4").unwrap().workers(), Some(4));
    }
}
