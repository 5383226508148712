//! What a reload replaces of the HTTP side.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::access::Secret;
use crate::config::Limits;
use crate::config::Origins;
use crate::config::Server;

/// What holds for connections and requests now.
pub type Current = Arc<ArcSwap<Live>>;

/// What holds for connections and requests. A connection keeps what held when it was accepted.
#[derive(Debug)]
pub struct Live {
    /// How long a client may take to send the head of a request, and what comes before the first.
    pub(super) header_timeout: Duration,
    /// Most bytes of that head.
    pub(super) header_size: usize,
    /// Most requests on one connection.
    pub(super) requests: Option<NonZeroU64>,
    /// Longest time that what is to be sent may wait because the peer does not read.
    pub(super) write_stall: Duration,
    /// How long the body of a request may take.
    pub(super) body_timeout: Duration,
    /// What operators must show, for all but the health.
    pub(super) operators: Option<Secret>,
    /// The web pages that may connect.
    pub(super) origins: Origins,
}

impl Live {
    /// The part of the configuration that connections and requests depend on.
    #[must_use]
    pub fn new(server: &Server, limits: &Limits, operators: Option<Secret>) -> Self {
        Self {
            header_timeout: limits.header_timeout.get(),
            header_size: limits.header_size.bytes(),
            requests: limits.requests_per_connection(),
            write_stall: limits.write_stall.get(),
            body_timeout: limits.body_timeout.get(),
            operators,
            origins: server.allowed_origins.clone(),
        }
    }
}
