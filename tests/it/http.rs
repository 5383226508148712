//! What operators and browsers ask over HTTP.

use std::io::Read;
use std::io::Write;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;

#[test]
fn operators_are_answered_on_the_public_listener_unless_they_have_their_own() {
    let daemon = Daemon::start(&[]);
    assert_eq!(daemon.address, daemon.admin);
    for (target, text) in [("/healthz", "ok"), ("/readyz", "ok")] {
        let response = http::get(daemon.address, target);
        assert_eq!((response.status, response.text().as_str()), (200, text));
    }
    let metrics = http::get(daemon.address, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(metrics.text().contains("humble_broker_build_info{version=\""));

    let daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    assert_ne!(daemon.address, daemon.admin);
    for target in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(http::get(daemon.address, target).status, 404, "{target}");
        assert_eq!(http::get(daemon.admin, target).status, 200, "{target}");
    }
    assert_eq!(http::get(daemon.admin, "/socket.io/?EIO=4&transport=polling").status, 404);
    Client::connect(daemon.address, Way::Upgrade4).assert_silence();
}

#[test]
fn metrics_can_be_switched_off() {
    let daemon = Daemon::start(&["--set", "admin.metrics=false"]);
    assert_eq!(http::get(daemon.admin, "/metrics").status, 404);
    assert_eq!(http::get(daemon.admin, "/healthz").status, 200);
}

#[test]
fn metrics_count_what_happened() {
    let daemon = Daemon::start(&[]);
    let mut subscriber = Client::connect(daemon.address, Way::WebSocket3);
    subscriber.subscribe("\"r\"");
    subscriber.subscribe("2");
    let mut publisher = Client::connect(daemon.address, Way::Upgrade4);
    assert_eq!(publisher.ask("[\"publish\",\"r\",\"four\"]"), "[]");
    publisher.emit("[\"broadcast\",1]");
    publisher.emit("[\"publish\",null,1]");
    publisher.emit("[\"nope\"]");
    publisher.assert_silence();
    subscriber.expect("[\"data\",\"r\",\"four\"]");
    for (name, value) in [
        ("connections{transport=\"websocket\",protocol=\"3\"}", 1.0),
        ("connections{transport=\"websocket\",protocol=\"4\"}", 1.0),
        ("connections{transport=\"polling\",protocol=\"4\"}", 0.0),
        ("connections_total{transport=\"polling\",protocol=\"4\"}", 1.0),
        ("connections_total{transport=\"websocket\",protocol=\"4\"}", 0.0),
        ("rooms", 2.0),
        ("subscriptions", 2.0),
        ("events_total{event=\"subscribe\",outcome=\"ok\"}", 2.0),
        ("events_total{event=\"publish\",outcome=\"ok\"}", 1.0),
        ("events_total{event=\"publish\",outcome=\"invalid_room\"}", 1.0),
        ("events_total{event=\"other\",outcome=\"unknown_event\"}", 1.0),
        ("messages_delivered_total{event=\"publish\"}", 1.0),
        ("messages_delivered_bytes_total{event=\"publish\"}", 19.0),
        ("messages_delivered_total{event=\"broadcast\"}", 1.0),
        ("messages_received_bytes_total{event=\"publish\"}", 22.0 + 18.0),
        ("fanout_recipients_count", 2.0),
        ("draining", 0.0),
        ("panics_total", 0.0),
    ] {
        let is = daemon.metric(&format!("humble_broker_{name}"));
        assert!((is - value).abs() < 1e-9, "{name} is {is}, not {value}");
    }
    assert!(daemon.metric("humble_broker_received_bytes_total") > 500.0);
    assert!(daemon.metric("humble_broker_sent_bytes_total") > 500.0);
    publisher.send("41");
    daemon.await_metric("humble_broker_disconnections_total{reason=\"client\"}", 1.0);
    drop(subscriber);
    daemon.await_metric("humble_broker_disconnections_total{reason=\"transport_closed\"}", 1.0);
    daemon.await_metric("humble_broker_send_queue_bytes", 0.0);
}

#[test]
fn unknown_paths_are_not_found_and_say_nothing() {
    let daemon = Daemon::start(&[]);
    for target in ["/", "/socket.io.js", "/socket.io/socket.io.js", "/admin", "/%2e%2e/etc/passwd"] {
        let response = http::get(daemon.address, target);
        assert_eq!((response.status, response.body.len()), (404, 0), "{target}");
        assert_eq!(response.header("server"), None);
    }
}

#[test]
fn browsers_of_other_origins_may_ask_and_are_told_so() {
    let daemon = Daemon::start(&[]);
    let target = "/socket.io/?EIO=4&transport=polling";
    let origin = [("origin", "https://app.example")];
    let response = http::request(daemon.address, "GET", target, &origin, b"");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,authorization"),
    ];
    let response = http::request(daemon.address, "OPTIONS", target, &preflight, b"");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-headers"), Some("content-type,authorization"));
    assert!(response.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
}

#[test]
fn origins_that_are_not_allowed_are_refused_on_both_transports() {
    let daemon = Daemon::start(&["--set", "server.allowed_origins=[\"https://app.example\"]"]);
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (origin, polling) in [
        (Some("https://app.example"), 200),
        (None, 200),
        (Some("https://evil.example"), 403),
        (Some("https://app.example.evil.example"), 403),
        (Some("http://app.example"), 403),
        (Some("null"), 403),
    ] {
        let header: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let response =
            http::request(daemon.address, "GET", "/socket.io/?EIO=4&transport=polling", &header, b"");
        assert_eq!(response.status, polling, "{origin:?}");
        if polling == 403 {
            let headers = [websocket.as_slice(), &header].concat();
            let target = "/socket.io/?EIO=4&transport=websocket";
            assert_eq!(http::request(daemon.address, "GET", target, &headers, b"").status, 403);
        }
    }
    assert!(daemon.metric("humble_broker_connections_refused_total{reason=\"origin\"}") > 3.0);
}

#[test]
fn a_client_that_sends_no_request_is_closed_in_time() {
    let daemon = Daemon::start(&["--set", "limits.header_timeout=200ms"]);
    for sent in [&b""[..], b"GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = http::connect(daemon.address);
        stream.write_all(sent).unwrap();
        let mut rest = Vec::new();
        // The deadline of the connection would end this with an error.
        stream.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn the_health_check_asks_the_daemon_of_its_configuration() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port().to_string();
    let healthy = |arguments: &[&str]| command().args(arguments).output().unwrap();
    assert!(healthy(&["--healthcheck", "--port", &port]).status.success());
    let own = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    let admin = own.admin.to_string();
    assert!(healthy(&["--healthcheck", "--port", "1", "--admin-listen", &admin]).status.success());
    // The public listener does not answer for operators that have their own.
    let port = own.address.port().to_string();
    let sick = healthy(&["--healthcheck", "--port", &port]);
    assert_eq!(sick.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&sick.stderr).contains("404"));
    drop(own);
    let gone = healthy(&["--healthcheck", "--port", &port]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(!gone.stderr.is_empty());
}
