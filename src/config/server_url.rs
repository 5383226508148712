//! Where the servers of a relay are.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use http::uri::Authority;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error;
use serde::de::SeqAccess;
use serde::de::Visitor;

use crate::config::text;

/// One or several, written as a string or as an array of strings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Servers<T>(Vec<T>);

impl<T> Servers<T> {
    /// All of them; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de> + FromStr<Err = String>> Deserialize<'de> for Servers<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrSeveral(PhantomData)).map(Self)
    }
}

struct OneOrSeveral<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + FromStr<Err = String>> Visitor<'de> for OneOrSeveral<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        text.parse().map(|one| vec![one]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<T>, A::Error> {
        let mut servers = Vec::new();
        while let Some(server) = all.next_element()? {
            servers.push(server);
        }
        if servers.is_empty() {
            return Err(A::Error::custom("there is no address; write at least one"));
        }
        Ok(servers)
    }
}

/// `redis://host:port/database`; `rediss` for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct RedisUrl {
    /// Whether it is spoken to over TLS.
    pub encrypted: bool,
    /// Its name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The number of the database, which has no meaning for messages but for who may connect.
    pub database: u16,
}

/// `nats://host:port`; `tls` for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct NatsUrl {
    /// Whether it is spoken to over TLS, even if the server would do without.
    pub encrypted: bool,
    /// Its name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not the address of a Redis server; write `redis://host:6379`");
        let (encrypted, rest) = scheme(text, ["redis://", "rediss://"]).ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = place(text, authority, 6379)?.ok_or_else(wrong)?;
        let database = if path.is_empty() { 0 } else { path.parse().map_err(|_| wrong())? };
        Ok(Self { encrypted, host, port, database })
    }
}

impl FromStr for NatsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not the address of a NATS server; write `nats://host:4222`");
        let (encrypted, rest) = scheme(text, ["nats://", "tls://"]).ok_or_else(wrong)?;
        let (host, port) = place(text, rest.trim_end_matches('/'), 4222)?.ok_or_else(wrong)?;
        Ok(Self { encrypted, host, port })
    }
}

/// Whether it is the second scheme, and what follows it.
fn scheme<'a>(text: &'a str, schemes: [&str; 2]) -> Option<(bool, &'a str)> {
    let [plain, encrypted] = schemes.map(|scheme| text.strip_prefix(scheme));
    plain.map(|rest| (false, rest)).or(encrypted.map(|rest| (true, rest)))
}

/// Host and port, if `authority` is that.
fn place(text: &str, authority: &str, port: u16) -> Result<Option<(String, u16)>, String> {
    if authority.contains('@') {
        let advice = "write `username` and `password_file`, as an address is shown and logged";
        return Err(format!("`{text}` is not only an address; {advice}"));
    }
    let Ok(authority) = authority.parse::<Authority>() else { return Ok(None) };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let has_port = authority.as_str().len() > authority.host().len();
    if has_port && authority.port_u16().is_none_or(|port| port == 0) || host.is_empty() {
        return Ok(None);
    }
    Ok(Some((host.to_owned(), authority.port_u16().unwrap_or(port))))
}

/// As it stands in an address.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.port)?;
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "tls" } else { "nats" };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.port)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl<'de> Deserialize<'de> for NatsUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, str::parse)
    }
}

impl From<RedisUrl> for String {
    fn from(url: RedisUrl) -> Self {
        url.to_string()
    }
}

impl From<NatsUrl> for String {
    fn from(url: NatsUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        for (text, written) in [
            ("redis://a", "redis://a:6379"),
            ("rediss://a:7/", "rediss://a:7"),
            ("redis://[::1]:7/3", "redis://[::1]:7/3"),
            ("redis://127.0.0.1/0", "redis://127.0.0.1:6379"),
        ] {
            assert_eq!(text.parse::<RedisUrl>().map(String::from), Ok(written.to_owned()));
            assert_eq!(written.parse::<RedisUrl>(), text.parse());
        }
        for (text, written) in [("nats://a", "nats://a:4222"), ("tls://[::1]:7/", "tls://[::1]:7")] {
            assert_eq!(text.parse::<NatsUrl>().map(String::from), Ok(written.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_way_to_write_one() {
        for text in
            ["", "a", "http://a", "redis://", "redis://a:b", "redis://a:0", "redis://a/b", "redis://:6379"]
        {
            let refusal = text.parse::<RedisUrl>().unwrap_err();
            assert!(refusal.ends_with("write `redis://host:6379`"), "{text}: {refusal}");
        }
        for text in ["nats:a", "redis://a", "nats://a/b"] {
            assert!(text.parse::<NatsUrl>().unwrap_err().ends_with("write `nats://host:4222`"), "{text}");
        }
        let refusal = "redis://:secret@a".parse::<RedisUrl>().unwrap_err();
        assert!(refusal.contains("`password_file`"), "{refusal}");
    }
}
