//! The HTTP side: listeners, connections and routes.

pub mod admin;
mod encrypted;
pub mod engine_io;
pub mod entrance;
pub mod health;
pub mod listener;
mod peer;
pub mod polling;
pub mod probe;
pub mod proxy_protocol;
pub mod public;
pub mod tls;
mod websocket;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::sleep;
use tower_service::Service;
use tracing::warn;

use crate::http::entrance::Entrance;
use crate::http::listener::Listener;
use crate::http::listener::Socket;
use crate::telemetry::metrics::Traffic;
use crate::wire::guard::Guarded;

/// How long accepting pauses after it has failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What holds for every connection of a listener.
#[derive(Clone)]
pub struct Terms {
    /// What it passes before it is served.
    pub entrance: Entrance,
    /// How long a client may take to send the head of a request, and what comes before the first.
    pub header_timeout: Duration,
    /// Longest time that what is to be sent may wait because the peer does not read.
    pub write_stall: Duration,
    /// Where its bytes are counted.
    pub traffic: Traffic,
}

/// Accepts connections and serves `routes` on them, until `stop` turns true; then connections end
/// with the request they are at. Whoever holds the sender of `stop` sees it closed once all have.
pub async fn serve(listener: Listener, routes: Router, terms: Terms, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                tokio::spawn(connection(stream, address, routes.clone(), terms.clone(), stop.clone()));
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
    stream: Socket,
    address: Option<IpAddr>,
    routes: Router,
    terms: Terms,
    mut stop: watch::Receiver<bool>,
) {
    let stream = Guarded::new(stream, terms.write_stall, terms.traffic);
    let kill = stream.kill().clone();
    let entered = tokio::select! {
        entered = terms.entrance.pass(stream, address, terms.header_timeout) => entered,
        () = stopped(&mut stop) => None,
    };
    let Some((stream, peer)) = entered else { return };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
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

/// Waits until `stop` turns true; if nobody can say so any more, it is over too.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
