//! The HTTP side: listeners, connections and routes.

pub mod admin;
pub mod engine_io;
pub mod health;
mod peer;
pub mod polling;
pub mod public;
mod websocket;

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;
use tower_service::Service;
use tracing::warn;

use crate::failure::Failure;
use crate::http::peer::Peer;
use crate::telemetry::metrics::Traffic;
use crate::wire::guard::Guarded;

/// The stream of one accepted connection.
type Connection = Guarded<TcpStream>;

/// How long accepting pauses after it has failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the system takes for a connection beyond what is on its way: enough to keep a fast one
/// busy while we are not looking.
const UNSENT: u32 = 128 << 10;

/// What holds for every connection of a listener.
#[derive(Clone)]
pub struct Terms {
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// Longest time that what is to be sent may wait because the peer does not read.
    pub write_stall: Duration,
    /// Where its bytes are counted.
    pub traffic: Traffic,
}

/// Listens on `host` and `port`; port 0 picks a free one.
///
/// # Errors
///
/// When the address does not resolve, or cannot be had.
pub async fn bind(host: &str, port: u16) -> Result<TcpListener, Failure> {
    let listen = async {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in lookup_host((host, port)).await? {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    listen.await.map_err(|error: io::Error| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Failure::Unavailable(format!("cannot listen on {host}:{port}: {error}"))
    })
}

/// Accepts connections and serves `routes` on them, until `stop` turns true; then connections end
/// with the request they are at. Whoever holds the sender of `stop` sees it closed once all have.
pub async fn serve(listener: TcpListener, routes: Router, terms: Terms, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer { address: Some(address.ip().to_canonical()) };
                tokio::spawn(connection(stream, peer, routes.clone(), terms.clone(), stop.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!("cannot accept connections: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether accepting failed for the connection that was accepted, and only for it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::ConnectionAborted;
    use io::ErrorKind::ConnectionRefused;
    use io::ErrorKind::ConnectionReset;
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    routes: Router,
    terms: Terms,
    mut stop: watch::Receiver<bool>,
) {
    prepare(&stream);
    let stream: Connection = Guarded::new(stream, terms.write_stall, terms.traffic);
    let kill = stream.kill().clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(kill.clone());
        routes.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(terms.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    // How a connection ends is the client's affair.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

/// Sets the options of an accepted socket; one that cannot be set belongs to a connection that is
/// gone already, and reading from it says so.
fn prepare(stream: &TcpStream) {
    // Without it small messages wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    // Without it the system takes megabytes for a peer that does not read, which no limit of ours
    // counts and no age of ours sees.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Waits until `stop` turns true; if nobody can say so any more, it is over too.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
