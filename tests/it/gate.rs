//! Who is let in: as many as there is room for, in all and of one address.

use std::io::Read;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command_after;
use crate::support::http;
use crate::support::http::Response;
use crate::support::websocket::WebSocket;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Asks for a session that polls, for the client at `address`, as a trusted proxy says it.
fn handshake(daemon: &Daemon, address: &str) -> Response {
    http::request(daemon.address, "GET", POLLING, &[("x-forwarded-for", address)], b"")
}

fn refusals(daemon: &Daemon, reason: &str) -> f64 {
    daemon.metric(&format!("humble_broker_connections_refused_total{{reason=\"{reason}\"}}"))
}

/// Repeats `ask` until it says `true`.
fn until(what: &str, mut ask: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !ask() {
        assert!(began.elapsed() < DEADLINE, "{what}: still not");
        std::thread::yield_now();
    }
    began.elapsed()
}

fn readiness(daemon: &Daemon) -> (u16, String) {
    let response = http::get(daemon.admin, "/readyz");
    (response.status, response.text())
}

fn await_ready(daemon: &Daemon) {
    until("ready again", || readiness(daemon) == (200, "ok".into()));
}

/// Opens a WebSocket as soon as there is a place: that of an answered request is free a moment after
/// its answer.
fn enter(daemon: &Daemon) -> WebSocket {
    let mut socket = None;
    until("a place", || {
        socket = WebSocket::try_open(daemon.address, WEBSOCKET).ok();
        socket.is_some()
    });
    socket.unwrap()
}

const EXHAUSTED: &str = "[\"connections_exhausted\"]";

#[test]
fn connections_beyond_the_limit_are_answered_and_refused() {
    let daemon = Daemon::start(&["--set", "limits.connections=3"]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    let second = enter(&daemon);
    // One place is free, but for who asks.
    await_ready(&daemon);
    let third = enter(&daemon);

    for target in [POLLING, &format!("{POLLING}&sid=nobody")] {
        let refused = http::get(daemon.address, target);
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert_eq!(refused.header("connection"), Some("close"));
    }
    let refused = WebSocket::try_open(daemon.address, WEBSOCKET).err();
    assert_eq!(refused.as_deref(), Some("HTTP/1.1 503 Service Unavailable"));
    assert!(refusals(&daemon, "connections") >= 3.0);
    assert_eq!(readiness(&daemon), (503, EXHAUSTED.into()));
    assert_eq!(http::get(daemon.address, "/healthz").status, 200);
    assert_eq!(http::get(daemon.address, "/nothing").status, 404);
    // One answer, even to who would have another.
    let mut stream = http::connect(daemon.address);
    http::ask(&mut stream, "GET", "/healthz", "");
    assert_eq!(http::receive_one(&mut stream).header("connection"), Some("close"));
    assert_eq!(http::rest(&mut stream), b"");

    client.assert_silence();
    drop(third);
    await_ready(&daemon);
    drop((enter(&daemon), second));
    client.assert_silence();
}

#[test]
fn sessions_are_bounded_though_no_connection_is_open() {
    let daemon = Daemon::start(&["--set", "limits.connections=12"]);
    let mut clients: Vec<_> = (0..12).map(|_| Client::connect(daemon.address, Way::Polling4)).collect();
    let refused = http::get(daemon.address, POLLING);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(WebSocket::try_open(daemon.address, WEBSOCKET).is_err_and(|status| status.contains("503")));
    assert!((refusals(&daemon, "connections") - 2.0).abs() < 1e-9);
    assert_eq!(readiness(&daemon), (503, EXHAUSTED.into()));
    // Who has a session keeps it, and may go over to WebSocket.
    for client in &mut clients {
        client.assert_silence();
    }
    clients[0].upgrade();
    clients[0].assert_silence();
    assert_eq!(http::get(daemon.address, POLLING).status, 503);
    clients.pop().unwrap().send("1");
    await_ready(&daemon);
    Client::connect(daemon.address, Way::Polling3).assert_silence();
}

/// Waits until one address may begin a session, when it may have one.
fn await_place(daemon: &Daemon, what: &str) {
    // In Engine.IO 3 a session comes into the namespace by itself. Once it has heard so, nothing of it stays when
    // it is closed.
    let polling = Way::Polling3.target("polling");
    until(what, || {
        let response = http::get(daemon.address, &polling);
        assert!([200, 429].contains(&response.status), "{}", response.status);
        if response.status == 200 {
            let text = response.text();
            let target = format!("{polling}&sid={}", text.split('"').nth(3).unwrap());
            let entered = http::get(daemon.address, &target).text();
            assert!(entered.contains("40"), "{entered}");
            assert_eq!(http::request(daemon.address, "POST", &target, &[], b"1:1").status, 200);
        }
        response.status == 200
    });
}

/// The ways in which a session ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The client says so, to the engine.
    Close,
    /// The client leaves the namespace, and then the connection.
    Disconnect,
    /// The connection is gone.
    Broken,
    /// The client breaks the protocol.
    Nonsense,
    /// It sends too much at once.
    TooLarge,
    /// It does not answer.
    Silence,
    /// It does not enter the namespace.
    NoConnect,
}

#[test]
fn a_session_gives_its_place_back_however_it_ends() {
    use End::*;
    std::thread::scope(|scope| {
        for way in Way::ALL {
            scope.spawn(move || {
                let daemon = Daemon::start(&[
                    "--set",
                    "limits.connections_per_ip=1",
                    "--set",
                    "socketio.ping_interval=300ms",
                    "--set",
                    "socketio.ping_timeout=700ms",
                    "--set",
                    "socketio.connect_timeout=300ms",
                    "--set",
                    "limits.max_payload=1 kB",
                ]);
                for end in [Close, Disconnect, Broken, Nonsense, TooLarge, Silence, NoConnect] {
                    end_one(&daemon, way, end);
                }
            });
        }
    });
}

fn end_one(daemon: &Daemon, way: Way, end: End) {
    await_place(daemon, &format!("{way:?} before {end:?}"));
    let open = if end == End::NoConnect { Client::open } else { Client::connect };
    let mut client = open(daemon.address, way);
    assert_eq!(http::get(daemon.address, POLLING).status, 429, "{way:?} {end:?}");
    let over = WebSocket::try_open(daemon.address, WEBSOCKET).err();
    assert!(over.is_some_and(|status| status.contains("429")), "{way:?} {end:?}");
    let polls = client.polls();
    let mut say = |text: &str| {
        if polls {
            let target = client.polling_target();
            let body = if way.generation() == humble_broker::protocol::Generation::V3 {
                format!("{}:{text}", text.len())
            } else {
                text.to_owned()
            };
            http::request(daemon.address, "POST", &target, &[], body.as_bytes());
        } else {
            client.socket().send(text);
        }
    };
    match end {
        End::Close => say("1"),
        End::Disconnect => say("41"),
        End::Nonsense => say("9"),
        End::TooLarge => say(&"4".repeat(2000)),
        End::Broken | End::Silence | End::NoConnect => {}
    }
    // Who says nothing is still there.
    let _still = matches!(end, End::Silence | End::NoConnect).then_some(client);
    await_place(daemon, &format!("{way:?} after {end:?}"));
}

#[test]
fn sessions_of_one_address_are_bounded_and_no_others() {
    let daemon = Daemon::start(&[
        "--set",
        "limits.connections_per_ip=2",
        "--set",
        "server.trusted_proxies=[\"127.0.0.1\"]",
    ]);
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:1:2::1"] {
        for _ in 0..2 {
            assert_eq!(handshake(&daemon, address).status, 200, "{address}");
        }
        let refused = handshake(&daemon, address);
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")), "{address}");
    }
    assert_eq!(handshake(&daemon, "2001:db8:1:2:3:4:5:6").status, 429, "of the same /64");
    assert_eq!(handshake(&daemon, "2001:db8:1:3::1").status, 200, "of another");
    assert!((refusals(&daemon, "connections_per_ip") - 4.0).abs() < 1e-9);
    assert_eq!(readiness(&daemon), (200, "ok".into()));
}

#[test]
fn connections_of_one_address_are_bounded_by_what_its_sessions_need() {
    let daemon = Daemon::start(&["--set", "limits.connections_per_ip=1"]);
    let idle: Vec<_> = (0..6).map(|_| http::connect(daemon.address)).collect();
    // They are accepted in order.
    until("the seventh is refused", || http::get(daemon.address, POLLING).status == 429);
    let refused = http::get(daemon.address, POLLING);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(WebSocket::try_open(daemon.address, WEBSOCKET).is_err_and(|status| status.contains("429")));
    assert_eq!(readiness(&daemon), (200, "ok".into()), "others find room");
    // When those that are only refused are many too, the next are closed without a word.
    let more: Vec<_> = (0..20).map(|_| http::connect(daemon.address)).collect();
    for stream in &more {
        stream.set_nonblocking(true).unwrap();
    }
    let closed = |mut stream: &TcpStream| matches!(stream.read(&mut [0]), Ok(0));
    // Or one more, as those that have been answered may still count for a moment.
    let took = until("four are closed", || more.iter().filter(|stream| closed(stream)).count() >= 4);
    // The others have 5 s.
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop((idle, more));
    until("there is room again", || {
        http::try_get(daemon.address, POLLING).is_some_and(|response| response.status == 200)
    });
}

#[test]
fn sessions_begin_no_faster_than_configured_and_waiting_as_told_is_enough() {
    let daemon = Daemon::start(&[
        "--set",
        "limits.connects_per_second=2",
        "--set",
        "server.trusted_proxies=[\"127.0.0.1\"]",
    ]);
    let began = Instant::now();
    // However slow this machine is: at some time two are let in, and the next is too early.
    until("one is refused", || handshake(&daemon, "192.0.2.1").status == 429);
    let refused = handshake(&daemon, "192.0.2.1");
    let told = Instant::now();
    if refused.status == 429 {
        assert_eq!(refused.header("retry-after"), Some("1"));
        let mut count = 0;
        until("let in again", || {
            count += 1;
            handshake(&daemon, "192.0.2.1").status == 200
        });
        assert!(count > 1 || began.elapsed() > Duration::from_millis(500));
        assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    }
    assert_eq!(handshake(&daemon, "192.0.2.2").status, 200, "another address has its own");
    assert!(refusals(&daemon, "connects_per_second") >= 1.0);
    let over = |daemon: &Daemon| {
        let target = "/socket.io/?EIO=3&transport=websocket";
        WebSocket::try_open(daemon.address, target).is_err_and(|status| status.contains("429"))
    };
    until("a WebSocket is refused too", || over(&daemon));
}

#[test]
fn a_limit_that_does_not_fit_the_file_descriptors_ends_the_start() {
    let output = |arguments: &[&str]| {
        let output = command_after("ulimit -n 100").args(["--port", "0"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = output(&["--set", "limits.connections=37"]);
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("cannot serve limits.connections = 37 with 100 file descriptors"), "{text}");
    assert!(text.contains("write at most 36"), "{text}");
    let fits = Daemon::start_after("ulimit -n 100", &["--set", "limits.connections=36"]);
    assert_eq!(readiness(&fits), (200, "ok".into()));
    // The soft limit is no obstacle.
    let soft = Daemon::start_after("ulimit -S -n 80", &["--set", "limits.connections=100"]);
    assert_eq!(readiness(&soft), (200, "ok".into()));
}

/// Publishes in order, and expects the same; how long the slowest message took.
fn exchange(publisher: &mut Client, subscriber: &mut Client, count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..count {
        let began = Instant::now();
        publisher.emit(&format!("[\"publish\",\"r\",{n}]"));
        subscriber.expect(&format!("[\"data\",\"r\",{n}]"));
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

fn bystanders(daemon: &Daemon) -> (Client, Client) {
    let mut subscriber = Client::connect(daemon.address, Way::WebSocket4);
    subscriber.subscribe("\"r\"");
    (Client::connect(daemon.address, Way::Upgrade3), subscriber)
}

fn flood(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| http::connect(address)).collect()
}

#[test]
fn clients_and_operators_are_served_while_every_place_is_taken() {
    // 16 places, and 32 connections on which clients are refused.
    let daemon = Daemon::start_after("ulimit -n 80", &["--set", "limits.header_timeout=3s"]);
    let (mut publisher, mut subscriber) = bystanders(&daemon);
    // One more than there is a place for, as the connection over which the publisher has polled may still take
    // one, and then not.
    let idle = flood(daemon.address, 15);
    until("the places are taken", || readiness(&daemon) == (503, EXHAUSTED.into()));
    assert_eq!(http::get(daemon.address, POLLING).status, 503);
    assert!(exchange(&mut publisher, &mut subscriber, 100) < Duration::from_secs(1));

    // More than anybody is accepted for: what is beyond waits, and nothing spins meanwhile.
    let more = flood(daemon.address, 60);
    let (began, spent) = (Instant::now(), daemon.processor_time());
    let mut last = http::connect(daemon.address);
    http::ask(&mut last, "GET", "/readyz", "");
    assert_eq!(
        http::receive_one(&mut last).status,
        503,
        "it is answered when those before have had their time"
    );
    assert!(began.elapsed() > Duration::from_secs(1), "it has waited");
    let spent = daemon.processor_time().saturating_sub(spent);
    assert!(spent < began.elapsed() / 5, "{spent:?} in {:?}", began.elapsed());
    assert!(exchange(&mut publisher, &mut subscriber, 100) < Duration::from_secs(1));

    drop((idle, more));
    await_ready(&daemon);
    Client::connect(daemon.address, Way::Polling4).assert_silence();
    subscriber.assert_silence();
}

#[test]
fn file_descriptors_that_others_hold_do_not_make_accepting_spin() {
    // 36 places as the limit says, but the process has inherited 50 files that nobody knows of.
    let prologue = "ulimit -n 100; for n in {10..59}; do eval \"exec $n</dev/null\"; done";
    let daemon = Daemon::start_after(prologue, &["--set", "limits.header_timeout=3s"]);
    let (mut publisher, mut subscriber) = bystanders(&daemon);
    let mut operator = http::connect(daemon.admin);
    http::ask(&mut operator, "GET", "/readyz", "");
    assert_eq!(http::receive_one(&mut operator).status, 200);

    let idle = flood(daemon.address, 60);
    until("it is out of file descriptors", || daemon.log().contains("cannot accept connections"));
    http::ask(&mut operator, "GET", "/readyz", "");
    let answer = http::receive_one(&mut operator);
    assert_eq!((answer.status, answer.text()), (503, EXHAUSTED.into()));
    assert!(exchange(&mut publisher, &mut subscriber, 100) < Duration::from_secs(1));
    let (began, spent) = (Instant::now(), daemon.processor_time());
    let mut last = http::connect(daemon.admin);
    http::ask(&mut last, "GET", "/healthz", "");
    assert_eq!(
        http::receive_one(&mut last).status,
        200,
        "it is answered when those before have had their time"
    );
    let spent = daemon.processor_time().saturating_sub(spent);
    assert!(spent < Duration::from_millis(100) + began.elapsed() / 5, "{spent:?} in {:?}", began.elapsed());

    drop(idle);
    await_ready(&daemon);
    until("it says so", || daemon.log().contains("connections are accepted again"));
    assert_eq!(daemon.log().matches("cannot accept connections").count(), 1, "{}", daemon.log());
    subscriber.assert_silence();
}
