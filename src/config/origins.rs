//! `server.allowed_origins`: which web pages may connect.

use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::config::server::is_host_name;
use crate::config::text;

/// Origins of web pages that may connect.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// All of them.
    pub(super) fn any() -> Self {
        Self(vec![Origin::Any])
    }

    /// Whether a page of `origin`, the value of a request's `Origin`, may connect.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        self.0.contains(&Origin::Any) || self.name(origin)
    }

    /// Whether `origin` is one of them by its own name, and not only because all are.
    #[must_use]
    pub fn name(&self, origin: &[u8]) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Origin::Any => false,
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
    use crate::config::Server;

    fn server(text: &str) -> Result<Server, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
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
}
