//! Who is at the other end of a connection.

use std::net::IpAddr;

use axum::http::HeaderMap;

/// The peer of a connection: an extension of every request that comes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its address; none over a unix socket.
    pub(super) address: Option<IpAddr>,
}

impl Peer {
    /// The address of the client that has sent a request with these headers.
    #[must_use]
    pub(super) fn client(self, _headers: &HeaderMap) -> Option<IpAddr> {
        self.address
    }
}
