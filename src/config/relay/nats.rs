//! `[relay.nats]`: the servers of NATS over which several brokers act as one.

use serde::Deserialize;
use serde::Serialize;

use crate::config::FilePath;
use crate::config::relay::RelayTls;
use crate::config::relay::prefix;
use crate::config::server_url::NatsUrl;
use crate::config::server_url::Servers;
use crate::config::table;

/// Most bytes before the names of rooms: the longest line that NATS takes has to hold both.
const PREFIX: usize = 256;

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

impl Nats {
    /// What is wrong between keys, and at which.
    pub(super) fn contradiction(&self) -> Option<(&'static [&'static str], String)> {
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
