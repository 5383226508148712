//! One connection: what its requests may cost, and when it ends.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use tower_service::Service as _;

use crate::access::Names;
use crate::http::Stage;
use crate::http::entrance::Connection;
use crate::http::entrance::Entrance;
use crate::http::entrance::names;
use crate::http::gate::Place;
use crate::http::gate::Standing;
use crate::http::listener::Socket;
use crate::http::live::Current;
use crate::http::live::Live;
use crate::http::peer::Peer;
use crate::http::reached;
use crate::telemetry::metrics::Traffic;
use crate::wire::departures::Departures;
use crate::wire::guard::Guarded;
use crate::wire::guard::Kill;
use crate::wire::linger::Lingering;
use crate::wire::permit::Permit;

/// How long a connection may last on which clients are only refused: others wait for its place.
const REFUSAL: Duration = Duration::from_secs(5);

/// What holds for every connection of a listener.
#[derive(Clone)]
pub struct Terms {
    /// What it passes before it is served.
    pub entrance: Entrance,
    /// What holds for those that are accepted now.
    pub live: Current,
    /// Where its bytes are counted.
    pub traffic: Traffic,
    /// Where it waits to hear that its peer has gone.
    pub departures: Departures,
}

/// A connection that has been accepted.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) address: Option<IpAddr>,
    pub(super) place: Place,
}

impl Arrival {
    /// Serves `routes` on the connection until it ends, at the latest as `stage` will have it.
    pub(super) async fn serve(self, routes: Router, terms: Terms, stage: watch::Receiver<Stage>) {
        if self.place.is_refused() {
            let _ = timeout(REFUSAL, self.enter(routes, terms, stage)).await;
        } else {
            self.enter(routes, terms, stage).await;
        }
    }

    async fn enter(self, routes: Router, terms: Terms, mut stage: watch::Receiver<Stage>) {
        let place = Arc::new(self.place);
        let live = terms.live.load_full();
        let mut stream = Guarded::new(
            self.socket,
            Permit::new(place.clone()),
            live.write_stall,
            terms.traffic.clone(),
            terms.departures.clone(),
        );
        let kill = stream.kill().clone();
        let deadline = Instant::now() + live.header_timeout;
        let met = tokio::select! {
            met = terms.entrance.meet(&mut stream, self.address, deadline) => met,
            () = reached(&mut stage, Stage::Ending) => None,
        };
        let Some(peer) = met else { return };
        // Before the handshake of TLS: whoever does not go on with one takes up a place all the same.
        let Some(standing) = place.count_for(peer.own()) else { return };
        drop(place);
        let refused = standing.refused().is_some();
        let service = Service {
            peer,
            names: None,
            kill,
            standing,
            routes,
            entrance: terms.entrance,
            live,
            served: AtomicU64::new(0),
        };
        if refused {
            let _ = timeout(REFUSAL, service.serve(stream, deadline, stage)).await;
        } else {
            service.serve(stream, deadline, stage).await;
        }
    }
}

/// What answers the requests on one connection.
struct Service {
    peer: Peer,
    /// Those in the peer's certificate.
    names: Option<Arc<Names>>,
    kill: Arc<Kill>,
    standing: Standing,
    routes: Router,
    entrance: Entrance,
    live: Arc<Live>,
    /// Requests so far.
    served: AtomicU64,
}

impl Service {
    /// Answers what comes over `stream`, if it comes as far as HTTP before `deadline`.
    async fn serve(self, stream: Guarded<Socket>, deadline: Instant, mut stage: watch::Receiver<Stage>) {
        let passed = tokio::select! {
            passed = self.entrance.pass(stream, deadline) => passed,
            () = reached(&mut stage, Stage::Ending) => None,
        };
        if let Some(connection) = passed {
            self.converse(connection, stage).await;
        }
    }

    async fn converse(mut self, stream: Connection, mut stage: watch::Receiver<Stage>) {
        let now = stage.clone();
        self.names = names(&stream);
        // The count of headers is bounded too: hyper reads 100 of them, and refuses more with 431.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.live.header_timeout)
            .max_buf_size(self.live.header_size)
            .serve_connection(
                TokioIo::new(Lingering::new(stream)),
                service_fn(move |request| self.answer(request, *now.borrow())),
            )
            .with_upgrades();
        tokio::pin!(connection);
        // How a connection ends is the client's affair.
        let _ = tokio::select! {
            ended = connection.as_mut() => ended,
            () = reached(&mut stage, Stage::Ending) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
    }

    fn answer(
        &self,
        mut request: Request<Incoming>,
        stage: Stage,
    ) -> impl Future<Output = Result<Response, Infallible>> + use<> {
        let count = self.served.fetch_add(1, Relaxed) + 1;
        // What is read at once may be more than what is allowed.
        let too_large = head_size(&request) > self.live.header_size;
        let last = too_large
            || stage >= Stage::Closing
            || self.standing.refused().is_some()
            || self.live.requests.is_some_and(|most| count >= most.get());
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(self.kill.clone());
        request.extensions_mut().insert(self.standing.clone());
        if let Some(names) = &self.names {
            request.extensions_mut().insert(names.clone());
        }
        let answer = (!too_large).then(|| self.routes.clone().call(request));
        async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
            };
            // A WebSocket is no more requests by itself.
            if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }
}

/// Bytes of the head of a request, as it is usually written.
fn head_size<B>(request: &Request<B>) -> usize {
    let target = request.uri();
    let start = request.method().as_str().len() + "  HTTP/1.1\r\n".len();
    let path = target.path_and_query().map_or(0, |path| path.as_str().len());
    let host = target.authority().map_or(0, |host| host.as_str().len());
    let line = |name: &HeaderName, value: &HeaderValue| name.as_str().len() + value.len() + ": \r\n".len();
    let headers: usize = request.headers().iter().map(|(name, value)| line(name, value)).sum();
    start + path + host + headers + "\r\n".len()
}
