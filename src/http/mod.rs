//! The HTTP side: listeners, connections and routes.

mod addresses;
pub mod admin;
mod body;
mod connection;
pub mod control;
mod credentials;
mod encrypted;
pub mod engine_io;
pub mod entrance;
pub mod gate;
pub mod health;
pub mod keys;
pub mod listener;
pub mod live;
mod peer;
pub mod polling;
pub mod probe;
pub mod proxy_protocol;
pub mod public;
mod refused;
mod shortage;
pub mod tls;
mod websocket;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::error;

use crate::http::connection::Arrival;
use crate::http::gate::Gate;
use crate::http::gate::Place;
use crate::http::listener::Listener;
use crate::http::listener::Socket;

pub use connection::Terms;

/// How long accepting pauses after it has failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are accepted before others have their turn, when a great many come at once. What comes
/// with one takes about 150 µs, so that is a millisecond.
const TOGETHER: usize = 8;

/// How far a listener and its connections have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connections are accepted and served.
    Open,
    /// None is accepted any more, and who connects waits for the process that listens on the socket next.
    /// Those that are there are served as before.
    Queueing,
    /// None is accepted any more. Those that are there are served: what has been asked on them may be
    /// on its way.
    Closing,
    /// Connections end with the request they are at.
    Ending,
}

/// Accepts connections as `gate` has room for them and serves `routes` on them, as far as `stage` has
/// come, or until nothing can be accepted any more. Whoever holds the sender of `stage` sees it closed
/// once all have ended.
pub async fn serve(
    listener: Listener,
    routes: Router,
    gate: Gate,
    terms: Terms,
    mut stage: watch::Receiver<Stage>,
) {
    for number in 1_usize.. {
        let accepted = tokio::select! {
            accepted = accept(&listener, &gate) => accepted,
            () = reached(&mut stage, Stage::Queueing) => return,
        };
        let (socket, address, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => return error!("a listener accepts no more connections: {error}"),
        };
        let arrival = Arrival { socket, address, place };
        tokio::spawn(arrival.serve(routes.clone(), terms.clone(), stage.clone()));
        if number.is_multiple_of(TOGETHER) {
            yield_now().await;
        }
    }
}

/// Waits until there is room and somebody who wants it; fails only when nobody ever will.
async fn accept(listener: &Listener, gate: &Gate) -> io::Result<(Socket, Option<IpAddr>, Place)> {
    gate.room().await;
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                return Ok((socket, address, gate.place()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            // It does not listen any more, as after a shutdown of the socket by whoever has it too.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                gate.note_shortage(&error);
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

/// Waits until `stage` has come as far as `wanted`; if nobody can say so any more, it is over too.
async fn reached(stage: &mut watch::Receiver<Stage>, wanted: Stage) {
    drop(stage.wait_for(|stage| *stage >= wanted).await);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use axum::routing::get;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::Limits;
    use crate::config::Listen;
    use crate::config::Server;
    use crate::http::entrance::Entrance;
    use crate::http::live::Live;
    use crate::telemetry::metrics::Traffic;
    use crate::wire::departures::Departures;

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let mut response = vec![0; 4096];
        let length = stream.read(&mut response).await.unwrap();
        String::from_utf8_lossy(&response[..length]).to_lowercase()
    }

    #[tokio::test]
    async fn a_connection_that_was_accepted_is_served_while_no_other_is_accepted() {
        let anywhere = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::for_operators(&anywhere).await.unwrap();
        let address = listener.address().unwrap();
        let stage = watch::Sender::new(Stage::Open);
        let live = Live::new(&Server::default(), &Limits::default(), None);
        let terms = Terms {
            entrance: Entrance::default(),
            live: Arc::new(ArcSwap::from_pointee(live)),
            traffic: Traffic::unheard(),
            departures: Departures::new().0,
        };
        let routes = Router::new().route("/", get(|| async { "ok" }));
        let serving = tokio::spawn(serve(listener, routes, Gate::operators(8), terms, stage.subscribe()));
        let connect = || TcpStream::connect(&address);
        let [mut early, mut late, mut silent] =
            [connect().await.unwrap(), connect().await.unwrap(), connect().await.unwrap()];
        // The last to connect, so that all of them have been accepted.
        assert!(!ask(&mut connect().await.unwrap()).await.contains("connection: close"));
        assert!(!ask(&mut early).await.contains("connection: close"));

        stage.send_replace(Stage::Closing);
        serving.await.unwrap();
        assert!(connect().await.is_err());
        for stream in [&mut early, &mut late] {
            let response = ask(stream).await;
            assert!(response.starts_with("http/1.1 200 ok"), "{response}");
            assert!(response.contains("connection: close"), "{response}");
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }

        stage.send_replace(Stage::Ending);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        stage.closed().await;
    }
}
