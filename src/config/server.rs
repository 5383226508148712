//! `[server]`: where and for whom the broker listens.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

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

    /// Path under which clients connect. A slash at its end makes no difference.
    ///
    /// Default: `"/socket.io"`. Takes effect: at restart.
    pub path: RequestPath,

    /// Origins of web pages that may connect, for long-polling as for WebSocket. A client that is
    /// not a browser names no origin, and may always connect.
    ///
    /// Default: `["*"]`. Takes effect: at restart.
    pub allowed_origins: Origins,

    /// Threads that serve connections; 0 is one per core.
    ///
    /// Default: `0`. Takes effect: at restart.
    workers: u16,
}

impl Server {
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
            path: RequestPath("/socket.io".to_owned()),
            allowed_origins: Origins(vec![Origin::Any]),
            workers: 0,
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
fn is_host_name(text: &str) -> bool {
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

/// Origins of web pages that may connect.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Whether a page of `origin`, the value of a request's `Origin`, may connect.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Origin::Any => true,
            Origin::Exactly(allowed) => allowed.as_bytes() == origin,
        })
    }
}

/// An origin of web pages that may connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
enum Origin {
    /// `*`
    Any,
    /// As browsers write it.
    Exactly(String),
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text == "null" || is_origin(text) {
            return Ok(Self::Exactly(text.to_owned()));
        }
        let form = "write `*`, or scheme, host and port as browsers do, in small letters, with a port only \
                    if it is not the scheme's own, like `https://example.com` or `http://localhost:8080`";
        Err(format!("`{text}` is not an origin; {form}"))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Any => "*".to_owned(),
            Origin::Exactly(text) => text,
        }
    }
}

/// Whether a browser could send `text` as an origin; one that it could not would match no page.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let own = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| Some(number) != own));
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host =
        address.map_or_else(|| is_host(host), |address| address.parse::<IpAddr>().is_ok_and(|a| a.is_ipv6()));
    let scheme = scheme.starts_with(|letter: char| letter.is_ascii_lowercase())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    scheme && host && port && !text.contains(|letter: char| letter.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    is_host_name(text) || text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
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
    fn only_listed_origins_are_allowed() {
        let some =
            server("allowed_origins = ['https://example.com', 'http://localhost:8080', 'null']").unwrap();
        for origin in ["https://example.com", "http://localhost:8080", "null"] {
            assert!(some.allowed_origins.allow(origin.as_bytes()), "{origin}");
        }
        for origin in
            ["http://example.com", "https://example.com:8443", "https://example.com.evil.example", "", "*"]
        {
            assert!(!some.allowed_origins.allow(origin.as_bytes()), "{origin}");
        }
        assert!(Server::default().allowed_origins.allow(b"https://anywhere.example"));
        assert!(!server("allowed_origins = []").unwrap().allowed_origins.allow(b"https://example.com"));
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        let valid = [
            "http://127.0.0.1:3000",
            "https://[::1]",
            "https://[::1]:8443",
            "capacitor://localhost",
            "http://a:443",
        ];
        for text in valid {
            assert!(is_origin(text), "{text}");
        }
        let refused = [
            "",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/path",
            "https://Example.com",
            "https://example.com:443",
            "http://example.com:80",
            "https://example.com:",
            "https://example.com:99999",
            "https://*.example.com",
            "https://user@example.com",
            "https://::1",
            "https://[1.2.3.4]",
            "1http://a",
            "https://a b",
        ];
        for text in refused {
            let refusal = server(&format!("allowed_origins = ['{text}']")).unwrap_err();
            assert!(refusal.starts_with(&format!("`{text}` is not an origin; write `*`")), "{refusal}");
        }
    }

    #[test]
    fn no_number_of_workers_means_one_per_core() {
        assert_eq!(Server::default().workers(), None);
        assert_eq!(server("workers = 4").unwrap().workers(), Some(4));
    }
}
