//! The way in: what a connection passes before it is served.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_util::either::Either;
use tracing::debug;

use crate::access::Names;
use crate::config::Proxies;
use crate::config::Server;
use crate::http::encrypted::Encrypted;
use crate::http::listener::Socket;
use crate::http::peer::Peer;
use crate::http::proxy_protocol;
use crate::http::tls::Tls;
use crate::telemetry::metrics;
use crate::wire::guard::Guarded;

/// The stream of one connection, encrypted or not.
///
/// TLS is above the guard, so that bytes are counted, and their age is seen, as they are on the wire.
pub(super) type Connection = Either<Guarded<Socket>, Encrypted<Guarded<Socket>>>;

/// The names in the certificate that the peer has shown.
pub(super) fn names(connection: &Connection) -> Option<Arc<Names>> {
    match connection {
        Either::Left(_) => None,
        Either::Right(encrypted) => encrypted.certificates().map(|chain| Arc::new(Names::of(chain))),
    }
}

/// What the connections of one listener pass; by default nothing.
#[derive(Clone, Default)]
pub struct Entrance {
    proxies: Arc<Proxies>,
    proxy_protocol: bool,
    tls: Option<Tls>,
}

impl Entrance {
    /// What the connections of clients pass.
    #[must_use]
    pub fn for_clients(server: &Server, tls: Option<Tls>) -> Self {
        let proxies = Arc::new(server.trusted_proxies.clone());
        Self { proxies, proxy_protocol: server.proxy_protocol, tls }
    }

    /// Finds out who is at the other end of a connection from `address`; `None` if it is not said
    /// before `deadline`.
    pub(super) async fn meet(
        &self,
        stream: &mut Guarded<Socket>,
        address: Option<IpAddr>,
        deadline: Instant,
    ) -> Option<Peer> {
        in_time(deadline, "proxy_header", self.peer(stream, address)).await
    }

    /// Takes a connection as far as HTTP; `None` if it does not come so far before `deadline`.
    pub(super) async fn pass(&self, stream: Guarded<Socket>, deadline: Instant) -> Option<Connection> {
        Some(match &self.tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(in_time(deadline, "tls_handshake", tls.accept(stream)).await?),
        })
    }

    async fn peer(&self, stream: &mut Guarded<Socket>, address: Option<IpAddr>) -> io::Result<Peer> {
        // Nobody else is asked for a header, so that nobody else can forge one.
        if !self.proxy_protocol || !self.proxies.contain(address) {
            return Ok(Peer::new(address, &self.proxies));
        }
        Ok(match proxy_protocol::read(stream).await? {
            Some(client) => Peer::new(Some(client), &self.proxies),
            None => Peer::unknown(address),
        })
    }
}

/// Takes a step before `deadline`, or counts that it has failed.
async fn in_time<T>(
    deadline: Instant,
    step: &'static str,
    work: impl Future<Output = io::Result<T>>,
) -> Option<T> {
    let error = match timeout_at(deadline, work).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => error,
        Err(late) => late.into(),
    };
    debug!("a connection has ended at its {step}: {error}");
    metrics::refused(step);
    None
}
