//! `[server.tls]`: what encrypts the connections of clients.

use serde::Deserialize;
use serde::Serialize;

use crate::config::FilePath;

/// What encrypts the connections of clients. The files are read when the broker starts, and again
/// on SIGHUP.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Tls {
    /// File with the certificate and those between it and its authority, in PEM, the broker's own
    /// first.
    ///
    /// Default: none. Takes effect: on reload, for new connections.
    pub certificate: FilePath,

    /// File with the certificate's private key, in PEM, not encrypted.
    ///
    /// Default: none. Takes effect: on reload, for new connections.
    pub key: FilePath,

    /// File with the authorities whose certificates clients may show, in PEM. Clients are then asked
    /// for one, and may connect without; one that is not valid ends the handshake.
    ///
    /// Default: none. Takes effect: on reload, for new connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<FilePath>,
}
