//! `[relay]`: the server over which several brokers act as one.

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::Serialize;

use crate::config::ByteSize;
use crate::config::FilePath;
use crate::config::Period;
use crate::config::contradiction::Contradiction;
use crate::config::contradiction::Step;
use crate::config::server_url::NatsUrl;
use crate::config::server_url::RedisUrl;
use crate::config::server_url::Servers;
use crate::config::table;

/// The server over which several brokers act as one. Without one there is only this node.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Relay {
    /// Whether the node is of no use without it: then it does not start when the server cannot be
    /// reached, and `/readyz` says so while it cannot.
    ///
    /// Default: `false`. Takes effect: at restart.
    pub required: bool,

    /// Longest time that it may take to connect.
    ///
    /// Default: `"5s"`. Takes effect: at restart.
    pub connect_timeout: Period,

    /// Messages that may wait to leave, and as many that may wait to be delivered; beyond it they are
    /// dropped.
    ///
    /// Default: `16384`. Takes effect: at restart.
    pub queue: NonZeroUsize,

    /// Bytes that may wait to leave, and as many that may wait to be delivered; an empty queue takes any
    /// one message.
    ///
    /// Default: `"64 MB"`. Takes effect: at restart.
    pub queue_size: ByteSize,

    /// A server of Redis or Valkey, or several.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,

    /// Servers of NATS.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
}

/// A server of Redis (6 and later) or Valkey, one that sentinels know, or a cluster (7 and later).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Redis {
    /// Where it is: `redis://host:6379`, or `rediss://` with TLS. Several are sentinels, or nodes of a
    /// cluster.
    pub url: Servers<RedisUrl>,

    /// Name by which the sentinels at `url` know the primary.
    ///
    /// Default: none, `url` is the server itself. Takes effect: at restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<String>,

    /// User of the access control list of the sentinels.
    ///
    /// Default: none, their default user. Takes effect: at restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_username: Option<String>,

    /// File with the password of the sentinels, and nothing else. It is read whenever a connection is made.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel_password_file: Option<FilePath>,

    /// Whether `url` is of nodes of a cluster, which tell of the others. Sharded pub/sub is used.
    ///
    /// Default: `false`. Takes effect: at restart.
    #[serde(default)]
    pub cluster: bool,

    /// User of the access control list.
    ///
    /// Default: none, the server's default user. Takes effect: at restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,

    /// File with the password, and nothing else. It is read whenever a connection is made.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<FilePath>,

    /// Whom to trust, and what to show, over TLS.
    ///
    /// Default: whom this machine trusts. Takes effect: at restart; what is in its files, with the next
    /// connection.
    #[serde(default, deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub tls: Option<RelayTls>,

    /// What the names of all channels begin with, so that several clusters of brokers can share a server.
    ///
    /// Default: `"humble-broker"`. Takes effect: at restart.
    #[serde(default = "prefix")]
    pub prefix: String,

    /// Whether clients also get what back ends emit over `@socket.io/redis-emitter`,
    /// `@socket.io/redis-adapter` and python-socketio's `RedisManager`.
    ///
    /// Default: `false`. Takes effect: at restart.
    #[serde(default)]
    pub emitters: bool,

    /// The `key` of those emitters and adapters.
    ///
    /// Default: `"socket.io"`. Takes effect: at restart.
    #[serde(default = "emitter_key")]
    pub emitter_key: String,

    /// The `channel` of python-socketio's `RedisManager`.
    ///
    /// Default: `"socketio"`. Takes effect: at restart.
    #[serde(default = "python_channel")]
    pub python_channel: String,
}

/// Servers of NATS (2.9 and later).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Nats {
    /// Where they are: `nats://host:4222`, or `tls://`. One of them is used.
    pub servers: Servers<NatsUrl>,

    /// File with the credentials of a user (a signed token and its key), as `nsc` writes it.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<FilePath>,

    /// File with the seed of an nkey, and nothing else.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nkey_file: Option<FilePath>,

    /// Name of the user.
    ///
    /// Default: none. Takes effect: at restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,

    /// File with the password, and nothing else.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<FilePath>,

    /// Whom to trust, and what to show, over TLS.
    ///
    /// Default: whom this machine trusts. Takes effect: at restart; what is in its files, with the next
    /// connection.
    #[serde(default, deserialize_with = "table::optional", skip_serializing_if = "Option::is_none")]
    pub tls: Option<RelayTls>,

    /// What all subjects begin with, so that several clusters of brokers can share a server.
    ///
    /// Default: `"humble-broker"`. Takes effect: at restart.
    #[serde(default = "prefix")]
    pub prefix: String,
}

/// What a connection to the server is encrypted with.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct RelayTls {
    /// File with the authorities to trust, in PEM, instead of those that this machine trusts.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,

    /// File with the certificate to show, in PEM.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<FilePath>,

    /// File with its private key, in PEM.
    ///
    /// Default: none. Takes effect: at restart; what is in it, with the next connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<FilePath>,
}

impl Relay {
    /// Whether there is one.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.redis.is_some() || self.nats.is_some()
    }

    /// What is wrong between keys.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let at = |keys: &[&'static str], message: &str| {
            let place = std::iter::once("relay").chain(keys.iter().copied()).map(Step::Key).collect();
            Some(Contradiction::new(place, message))
        };
        if self.redis.is_some() && self.nats.is_some() {
            return at(&["nats"], "there is `[relay.redis]` too; write one of them");
        }
        if self.required && !self.is_wanted() {
            return at(
                &["required"],
                "there is nothing that could be; write `[relay.redis]` or `[relay.nats]`",
            );
        }
        if let Some((key, message)) = self.redis.as_ref().and_then(Redis::contradiction) {
            return at(&["redis", key], message);
        }
        if let Some((keys, message)) = self.nats.as_ref().and_then(Nats::contradiction) {
            return at(&[&["nats"], keys].concat(), &message);
        }
        None
    }
}

impl Redis {
    /// What is wrong between keys, and at which.
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let is_encrypted = self.url.iter().any(|url| url.encrypted);
        if self.cluster && self.sentinel.is_some() {
            return Some(("cluster", "`sentinel` is set too; write one of them"));
        }
        if self.sentinel.is_none() {
            let message = "it is of no use without `sentinel`";
            if self.sentinel_username.is_some() {
                return Some(("sentinel_username", message));
            }
            if self.sentinel_password_file.is_some() {
                return Some(("sentinel_password_file", message));
            }
        }
        if self.url.iter().count() > 1 && !self.cluster && self.sentinel.is_none() {
            let message =
                "several addresses are those of sentinels or of a cluster; write `sentinel` or `cluster`";
            return Some(("url", message));
        }
        if self.url.iter().any(|url| url.encrypted != is_encrypted) {
            return Some(("url", "write `rediss://` for all of them, or for none"));
        }
        if self.cluster && self.url.iter().any(|url| url.database != 0) {
            return Some(("url", "a cluster has no databases; leave the number out"));
        }
        if self.tls.is_some() && !is_encrypted {
            return Some(("tls", "it is of no use without TLS; write `rediss://` in `url`"));
        }
        Some(("tls", self.tls.as_ref()?.contradiction()?))
    }
}

impl Nats {
    /// What is wrong between keys, and at which.
    fn contradiction(&self) -> Option<(&'static [&'static str], String)> {
        let ways = [self.credentials_file.is_some(), self.nkey_file.is_some(), self.username.is_some()];
        if ways.into_iter().filter(|is_set| *is_set).count() > 1 {
            let message = "write `credentials_file`, `nkey_file` or `username`, and one of them only";
            return Some((&[], message.to_owned()));
        }
        let of_token = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
        let is_token = |token: &str| !token.is_empty() && token.bytes().all(of_token);
        if self.prefix.len() > PREFIX || !self.prefix.split('.').all(is_token) {
            let form = "write up to 256 letters, digits, `-` and `_`, perhaps with dots between them";
            return Some((
                &["prefix"],
                format!("`{}` is not the beginning of a subject; {form}", self.prefix),
            ));
        }
        if self.username.is_some() != self.password_file.is_some() {
            let message = "`username` and `password_file` are of no use without each other";
            return Some((&[], message.to_owned()));
        }
        Some((&["tls"], self.tls.as_ref()?.contradiction()?.to_owned()))
    }
}

impl RelayTls {
    /// What is wrong between keys.
    fn contradiction(&self) -> Option<&'static str> {
        let is_half = self.certificate.is_some() != self.key.is_some();
        is_half.then_some("`certificate` and `key` are of no use without each other")
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            required: false,
            connect_timeout: Period::seconds(5),
            queue: QUEUE,
            queue_size: ByteSize::new(64_000_000),
            redis: None,
            nats: None,
        }
    }
}

/// Most bytes before the names of rooms: the longest line that NATS takes has to hold both.
const PREFIX: usize = 256;

const QUEUE: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

fn prefix() -> String {
    "humble-broker".to_owned()
}

fn emitter_key() -> String {
    "socket.io".to_owned()
}

fn python_channel() -> String {
    "socketio".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_refused() {
        const REDIS: &str = "redis.url='redis://a'\n";
        const NATS: &str = "nats.servers='nats://a'\n";
        let refused = |text: &str| {
            let relay: Relay = toml::from_str(text).unwrap();
            relay.contradiction().is_some()
        };
        for text in [REDIS, NATS, "redis={ url = ['rediss://a', 'rediss://b'], cluster = true, tls = {} }"] {
            assert!(!refused(text), "{text}");
        }
        for text in [
            "required=true",
            &[REDIS, NATS].concat(),
            "redis={ url = ['redis://a', 'redis://b'] }",
            "redis={ url = ['redis://a', 'rediss://b'], cluster = true }",
            "redis={ url = 'redis://a/1', cluster = true }",
            &[REDIS, "redis.cluster=true\nredis.sentinel='b'"].concat(),
            &[REDIS, "redis.sentinel_username='b'"].concat(),
            &[REDIS, "redis.sentinel_password_file='b'"].concat(),
            &[REDIS, "redis.tls={}"].concat(),
            "redis={ url = 'rediss://a', tls = { key = 'b' } }",
            &[NATS, "nats.tls={ certificate = 'b' }"].concat(),
            &[NATS, "nats.nkey_file='b'\nnats.credentials_file='b'"].concat(),
            &[NATS, "nats.username='b'"].concat(),
            &[NATS, "nats.prefix='a..b'"].concat(),
        ] {
            assert!(refused(text), "{text}");
        }
    }
}
