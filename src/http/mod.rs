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
use tokio::time::sleep;

use crate::http::connection::Arrival;
use crate::http::gate::Gate;
use crate::http::gate::Place;
use crate::http::listener::Listener;
use crate::http::listener::Socket;

pub use connection::Terms;

/// How long accepting pauses after it has failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections as `gate` has room for them and serves `routes` on them, until `stop` turns
/// true; then connections end with the request they are at. Whoever holds the sender of `stop` sees
/// it closed once all have.
pub async fn serve(
    listener: Listener,
    routes: Router,
    gate: Gate,
    terms: Terms,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let (socket, address, place) = tokio::select! {
            accepted = accept(&listener, &gate) => accepted,
            () = stopped(&mut stop) => return,
        };
        let arrival = Arrival { socket, address, place };
        tokio::spawn(arrival.serve(routes.clone(), terms.clone(), stop.clone()));
    }
}

/// Waits until there is room and somebody who wants it.
async fn accept(listener: &Listener, gate: &Gate) -> (Socket, Option<IpAddr>, Place) {
    gate.room().await;
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                return (socket, address, gate.place());
            }
            Err(error) if is_of_one_connection(&error) => {}
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

/// Waits until `stop` turns true; if nobody can say so any more, it is over too.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
