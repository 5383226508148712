//! What the broker is built on, used as its documentation shows: socketioxide with every default.
//!
//! `bare PORT` listens on 127.0.0.1, and prints where.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is an example")]

use axum::Router;
use axum::serve::ListenerExt;
use serde_json::value::RawValue;
use socketioxide::SocketIo;
use socketioxide::extract::AckSender;
use socketioxide::extract::Data;
use socketioxide::extract::SocketRef;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(5000);
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("subscribe", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
            socket.join(room);
            ack.send(&()).ok();
        });
        socket.on("unsubscribe", async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
            socket.leave(room);
            ack.send(&()).ok();
        });
        // The message is passed on as the text that it is.
        socket.on(
            "publish",
            async |socket: SocketRef, Data((room, message)): Data<(String, Box<RawValue>)>| {
                socket.within(room.clone()).emit("data", &(room, message)).await.ok();
            },
        );
        socket.on("broadcast", async |socket: SocketRef, Data(message): Data<Box<RawValue>>| {
            socket.broadcast().emit("broadcast", &message).await.ok();
        });
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    // Without it a small frame would wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|socket| {
        socket.set_nodelay(true).ok();
    });
    axum::serve(listener, Router::new().layer(layer)).await.unwrap();
}
