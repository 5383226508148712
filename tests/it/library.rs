//! What we mend in the library from outside, seen on the bare library: a test that fails here says
//! that a newer version has mended it, and that our own cure can go.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Empty;
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use socketioxide::service::SocketIoService;
use tokio::time::timeout;
use tower_service::Service;

#[derive(Clone)]
struct Nowhere;

impl Service<Request<Empty<Bytes>>> for Nowhere {
    type Response = http::Response<Empty<Bytes>>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        std::future::ready(Ok(http::Response::default()))
    }
}

struct Library {
    service: SocketIoService<Nowhere>,
    target: String,
}

impl Library {
    /// A session of this generation that polls, with a server that sends it four bytes.
    async fn open(generation: u8) -> Self {
        let (service, io) = SocketIo::builder().build_with_inner_svc(Nowhere);
        io.ns("/", async |socket: SocketRef| {
            socket.emit("bytes", &Bytes::from_static(&[1, 2, 3, 4])).unwrap();
        });
        let target = format!("/socket.io/?EIO={generation}&transport=polling");
        let mut library = Self { service, target };
        let handshake = library.poll().await;
        let id = handshake.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        library.target.extend(["&sid=", id.as_str()]);
        library
    }

    async fn poll(&mut self) -> String {
        let request = Request::get(&self.target).body(Empty::new()).unwrap();
        let Ok(response) = Service::<Request<Empty<Bytes>>>::call(&mut self.service, request).await;
        String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes()).into_owned()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(crate::support::DEADLINE, test).await.unwrap() })
}

#[test]
fn it_still_pings_as_soon_as_a_session_begins() {
    // Cure: `Link::is_first_ping`.
    assert_eq!(run(async { Library::open(4).await.poll().await }), "2");
}

#[test]
fn it_still_writes_binary_packets_of_revision_3_wrongly() {
    // Cure: `wire::payload::packet`.
    let received = run(async {
        let mut library = Library::open(3).await;
        let mut received = String::new();
        while !received.contains("AQIDBA==") {
            received += &library.poll().await;
        }
        received
    });
    assert!(received.ends_with("\u{fffd}bAQIDBA=="), "{received:?}");
}

#[test]
fn it_still_gives_up_polling_as_soon_as_a_websocket_opens() {
    // Cure: `http::websocket::Attempt`.
    run(async {
        let mut library = Library::open(4).await;
        assert_eq!(library.poll().await, "2");
        let (_client, server) = tokio::io::duplex(1024);
        let upgrade = library.target.replace("polling", "websocket");
        let request = Request::get(upgrade).body(()).unwrap();
        Service::call(&mut library.service, (server, request)).await.unwrap();
        // Nothing has been probed, and yet each poll is answered with NOOP from now on.
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(timeout(Duration::from_secs(1), library.poll()).await.unwrap_or_default());
        }
        assert!(answers.iter().filter(|answer| *answer == "6").count() > 10, "{answers:?}");
    });
}
