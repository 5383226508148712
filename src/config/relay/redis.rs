//! `[relay.redis]`: the server of Redis over which several brokers act as one.

use serde::Deserialize;
use serde::Serialize;

use crate::config::FilePath;
use crate::config::relay::RelayTls;
use crate::config::relay::prefix;
use crate::config::server_url::RedisUrl;
use crate::config::server_url::Servers;
use crate::config::table;

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

impl Redis {
    /// What is wrong between keys, and at which.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let is_encrypted = self.url.iter().any(|url| url.encrypted);
        if self.prefix.is_empty() {
            return Some(("prefix", "it is empty; write a name"));
        }
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

fn emitter_key() -> String {
    "socket.io".to_owned()
}

fn python_channel() -> String {
    "socketio".to_owned()
}
