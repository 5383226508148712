//! `[relay]`: the server over which several brokers act as one.

mod nats;
mod redis;

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::Serialize;

use crate::config::ByteSize;
use crate::config::FilePath;
use crate::config::Period;
use crate::config::contradiction::Contradiction;
use crate::config::contradiction::Step;
use crate::config::table;

pub use nats::Nats;
pub use redis::Redis;

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
        if self.queue > MOST_QUEUED {
            return at(&["queue"], "write at most 4,294,967,295");
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

/// More than any machine holds, and fewer than what queues can count.
const MOST_QUEUED: NonZeroUsize = NonZeroUsize::new(u32::MAX as usize).unwrap();
const QUEUE: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

fn prefix() -> String {
    "humble-broker".to_owned()
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
            "queue=4294967296",
            &[REDIS, NATS].concat(),
            "redis={ url = ['redis://a', 'redis://b'] }",
            "redis={ url = ['redis://a', 'rediss://b'], cluster = true }",
            "redis={ url = 'redis://a/1', cluster = true }",
            &[REDIS, "redis.cluster=true\nredis.sentinel='b'"].concat(),
            &[REDIS, "redis.sentinel_username='b'"].concat(),
            &[REDIS, "redis.sentinel_password_file='b'"].concat(),
            &[REDIS, "redis.tls={}"].concat(),
            &[REDIS, "redis.prefix=''"].concat(),
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
