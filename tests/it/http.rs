//! What operators and browsers ask over HTTP.

use std::io::Read;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::vitals::Vitals;
use crate::support::vitals::pause;

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

#[test]
fn only_sane_methods_are_served_and_what_is_not_there_is_not_found() {
    let daemon = Daemon::start(&[]);
    let endpoint = "/socket.io/?EIO=4&transport=polling";
    let mut asked = 0;
    for method in ["HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let response = http::request(daemon.address, method, endpoint, &[], b"");
        assert_eq!((response.status, response.body.len()), (405, 0), "{method}");
        assert_eq!(response.header("allow"), Some("GET, POST, OPTIONS"), "{method}");
        asked += 1;
    }
    for target in ["/healthz", "/readyz", "/metrics"] {
        let head = http::request(daemon.address, "HEAD", target, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let response = http::request(daemon.address, method, target, &[], b"");
            assert_eq!((response.status, response.body.len()), (405, 0), "{method} {target}");
            assert_eq!(response.header("allow"), Some("GET,HEAD"), "{method} {target}");
            asked += 1;
        }
    }
    for target in ["/", "*", "/socket.io.js", "/socket.io/?EIO=4/../x/socket.io", "/healthz/", "/none?EIO=4"]
    {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if target.starts_with("/socket.io/") {
                continue;
            }
            let response = http::request(daemon.address, method, target, &[], b"");
            assert_eq!((response.status, response.body.len()), (404, 0), "{method} {target}");
            assert_eq!(response.header("server"), None);
            asked += 1;
        }
    }
    let connect = http::request(daemon.address, "CONNECT", "example.org:80", &[], b"");
    assert_eq!((connect.status, connect.body.len()), (404, 0));
    assert!(asked > 50, "{asked}");
}

#[test]
fn a_head_that_asks_for_a_poll_takes_no_packets_from_it() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::Polling4);
    client.subscribe("1");
    client.emit("[\"publish\",1,\"kept\"]");
    let head = http::request(daemon.address, "HEAD", &client.polling_target(), &[], b"");
    assert_eq!(head.status, 405);
    client.expect("[\"data\",1,\"kept\"]");
}

#[test]
fn a_head_has_the_size_and_the_count_of_headers_that_are_allowed() {
    let daemon = Daemon::start(&["--set", "limits.header_size=12 KiB", "--admin-listen", "127.0.0.1:0"]);
    for address in [daemon.address, daemon.admin] {
        let status = |size: usize| {
            let start = "GET /healthz HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx: ";
            let filling = "x".repeat(size - start.len() - 4);
            let mut stream = http::connect(address);
            // A head that is refused may be cut off before all of it is written.
            let _ = stream.write_all(format!("{start}{filling}\r\n\r\n").as_bytes());
            let answer = String::from_utf8(http::rest(&mut stream)).unwrap();
            answer.split(' ').nth(1).map(|status| status.parse::<u16>().unwrap())
        };
        let served = if address == daemon.admin { 200 } else { 404 };
        assert_eq!(status(12 << 10), Some(served));
        assert_eq!(status((12 << 10) + 1), Some(431));
        assert!([None, Some(431)].contains(&status(1 << 20)));

        let count = |count: usize| {
            let headers = "a: b\r\n".repeat(count - 1);
            let mut stream = http::connect(address);
            http::ask(&mut stream, "GET", "/healthz", &headers);
            http::receive_one(&mut stream).status
        };
        assert_eq!((count(100), count(101)), (served, 431));
    }
}

#[test]
fn a_body_that_does_not_come_ends_request_and_session() {
    let daemon = Daemon::start(&["--set", "limits.body_timeout=200ms"]);
    for headers in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
        let client = Client::connect(daemon.address, Way::Polling4);
        let mut stream = http::connect(daemon.address);
        http::ask(&mut stream, "POST", &client.polling_target(), headers);
        stream.write_all(b"4").unwrap();
        let response = http::receive_one(&mut stream);
        assert_eq!((response.status, response.header("connection")), (408, Some("close")), "{headers}");
        assert_eq!(http::rest(&mut stream), b"");
        assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400, "the session is over");
    }
    daemon.await_metric("humble_broker_connections{transport=\"polling\",protocol=\"4\"}", 0.0);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_comes_or_while_it_does() {
    let daemon = Daemon::start(&["--set", "limits.max_payload=1 kB"]);
    let client = Client::connect(daemon.address, Way::Polling4);
    let mut stream = http::connect(daemon.address);
    let announced = "content-length: 1001\r\nexpect: 100-continue\r\n";
    http::ask(&mut stream, "POST", &client.polling_target(), announced);
    let response = http::receive_one(&mut stream);
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    assert_eq!(http::rest(&mut stream), b"");
    assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400, "the session is over");

    let client = Client::connect(daemon.address, Way::Polling4);
    let mut stream = http::connect(daemon.address);
    http::ask(&mut stream, "POST", &client.polling_target(), "transfer-encoding: chunked\r\n");
    stream.write_all(format!("3e9\r\n{}", "4".repeat(1001)).as_bytes()).unwrap();
    assert_eq!(http::receive_one(&mut stream).status, 413);

    let mut client = Client::connect(daemon.address, Way::Polling4);
    let mut stream = http::connect(daemon.address);
    let room = "r".repeat(1000 - "42[\"subscribe\",\"\"]".len());
    let packet = format!("42[\"subscribe\",\"{room}\"]");
    assert_eq!(packet.len(), 1000);
    http::ask(&mut stream, "POST", &client.polling_target(), "content-length: 1000\r\n");
    stream.write_all(packet.as_bytes()).unwrap();
    assert_eq!(http::receive_one(&mut stream).status, 200);
    client.assert_silence();
}

/// Proxies, and clients, may look for the answer only when they have sent everything.
#[test]
fn who_is_answered_in_the_middle_of_a_body_can_send_the_rest_and_gets_the_answer() {
    let daemon = Daemon::start(&["--set", "limits.max_payload=1 kB"]);
    let client = Client::connect(daemon.address, Way::Polling4);
    let body = vec![b'4'; 20_000_000];
    for (target, status) in [(client.polling_target(), 413), ("/nothing".to_owned(), 404)] {
        let mut stream = http::connect(daemon.address);
        http::ask(&mut stream, "POST", &target, "content-length: 20000000\r\n");
        stream.write_all(&body).unwrap();
        assert_eq!(http::receive_one(&mut stream).status, status);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a clean end");
    }
}

#[test]
fn a_body_that_nobody_wants_is_not_waited_for() {
    let daemon = Daemon::start(&["--set", "limits.body_timeout=1h", "--set", "limits.header_timeout=1h"]);
    for (method, target, status) in [
        ("GET", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("POST", "/nothing", 404),
        ("GET", "/socket.io/?EIO=4&transport=polling", 200),
        ("POST", "/socket.io/?EIO=4&transport=polling", 400),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=nobody", 400),
        ("PUT", "/socket.io/?EIO=4&transport=polling", 405),
    ] {
        for body in ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"] {
            let mut stream = http::connect(daemon.address);
            http::ask(&mut stream, method, target, body);
            assert_eq!(http::receive_one(&mut stream).status, status, "{method} {target}");
            assert_eq!(http::rest(&mut stream), b"", "{method} {target}");
        }
    }
}

#[test]
fn a_connection_carries_as_many_requests_as_configured() {
    let daemon = Daemon::start(&["--set", "limits.requests_per_connection=3"]);
    let mut stream = http::connect(daemon.address);
    for last in [None, None, Some("close")] {
        http::ask(&mut stream, "GET", "/healthz", "");
        let response = http::receive_one(&mut stream);
        assert_eq!((response.status, response.header("connection")), (200, last));
    }
    assert_eq!(http::rest(&mut stream), b"");

    // Those that are sent ahead are answered in order, up to the last.
    let mut stream = http::connect(daemon.address);
    let one = "GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(one.repeat(5).as_bytes()).unwrap();
    let answers = String::from_utf8(http::rest(&mut stream)).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");

    let daemon = Daemon::start(&["--set", "limits.requests_per_connection=1"]);
    for way in Way::ALL {
        Client::connect(daemon.address, way).assert_silence();
    }
}

#[test]
fn shapes_of_requests_that_are_rare_are_understood() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::Polling4);
    client.subscribe("\"r\"");
    let target = client.polling_target();
    let mut stream = http::connect(daemon.address);

    // A client that asks whether it may go on is told so.
    let packet = "42[\"publish\",\"r\",1]";
    let headers = format!("content-length: {}\r\nexpect: 100-continue\r\n", packet.len());
    http::ask(&mut stream, "POST", &target, &headers);
    assert_eq!(http::receive_one(&mut stream).status, 100);
    stream.write_all(packet.as_bytes()).unwrap();
    assert_eq!(http::receive_one(&mut stream).status, 200);

    // In chunks, on the same connection, with the target as proxies are sent it.
    http::ask(&mut stream, "POST", &format!("http://test{target}"), "transfer-encoding: chunked\r\n");
    stream.write_all(b"8\r\n42[\"publ\r\nb\r\nish\",\"r\",2]\r\n0\r\n\r\n").unwrap();
    let response = http::receive_one(&mut stream);
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));

    // Two at once, without waiting for the first answer.
    let post = |n| {
        let packet = format!("42[\"publish\",\"r\",{n}]");
        format!("POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{packet}", packet.len())
    };
    stream.write_all((post(3) + &post(4)).as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(http::receive_one(&mut stream).status, 200);
    }
    for n in 1..=4 {
        client.expect(&format!("[\"data\",\"r\",{n}]"));
    }
}

/// Sends a byte now and then, until the server closes the connection.
fn drip_until_closed(mut stream: std::net::TcpStream) {
    let mut slow = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        while slow.write_all(b"x").is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    });
    http::rest(&mut stream);
    drop(stream);
    writer.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_or_write_is_closed_on_every_route() {
    let daemon = Daemon::start(&[
        "--set",
        "limits.header_timeout=300ms",
        "--set",
        "limits.body_timeout=300ms",
        "--set",
        "limits.write_stall=300ms",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    let client = Client::connect(daemon.address, Way::Polling4);
    let mut tried = 0;
    for (address, target) in [
        (daemon.address, "/socket.io/?EIO=4&transport=polling"),
        (daemon.address, client.polling_target().as_str()),
        (daemon.address, "/nothing"),
        (daemon.admin, "/healthz"),
        (daemon.admin, "/readyz"),
        (daemon.admin, "/metrics"),
        (daemon.admin, "/nothing"),
    ] {
        // A head that grows by a byte now and then is none.
        let mut stream = http::connect(address);
        write!(stream, "GET {target} HTTP/1.1\r\nx: ").unwrap();
        drip_until_closed(stream);
        // Nor does a body come to an end.
        let mut stream = http::connect(address);
        http::ask(&mut stream, "POST", target, "content-length: 100000\r\n");
        drip_until_closed(stream);
        // Who asks and asks and never reads is not answered for ever.
        let mut stream = http::connect(address);
        let request = format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n");
        while stream.write_all(request.as_bytes()).is_ok() {}
        tried += 1;
    }
    assert_eq!(tried, 7);
}

#[test]
fn operators_have_a_few_connections_on_a_listener_of_their_own() {
    let daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0", "--set", "limits.header_timeout=500ms"]);
    let began = std::time::Instant::now();
    let idle: Vec<_> = (0..8).map(|_| http::connect(daemon.admin)).collect();
    // The ninth waits until the others have had their time; clients do not notice.
    let mut ninth = http::connect(daemon.admin);
    http::ask(&mut ninth, "GET", "/readyz", "");
    Client::connect(daemon.address, Way::Upgrade4).assert_silence();
    assert_eq!(http::receive_one(&mut ninth).text(), "ok");
    assert!(began.elapsed() >= std::time::Duration::from_millis(400), "{:?}", began.elapsed());
    drop(idle);
}

#[test]
fn a_body_in_the_smallest_of_chunks_takes_no_more_memory_than_it_has_bytes() {
    let daemon = Daemon::start(&["--set", "limits.body_timeout=1m", "--admin-listen", "127.0.0.1:0"]);
    let before = Vitals::most(&daemon).memory;
    let chunks = b"1\r\nx\r\n".repeat(100_000);
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let client = Client::connect(daemon.address, Way::Polling4);
        let mut stream = http::connect(daemon.address);
        http::ask(&mut stream, "POST", &client.polling_target(), "transfer-encoding: chunked\r\n");
        stream.write_all(&chunks).unwrap();
        clients.push(client);
        streams.push(stream);
    }
    let began = Instant::now();
    while daemon.metric("humble_broker_received_bytes_total") < 4.0 * 100_000.0 * 6.0 {
        assert!(began.elapsed() < DEADLINE);
        pause(Duration::from_millis(20));
    }
    let taken = Vitals::least(&daemon).memory - before;
    assert!(taken < 6 << 10, "{taken} KiB for 400 kB");
    for mut stream in streams {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
}

#[test]
fn operators_show_their_token_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "token-of-the-operators\n").unwrap();
    let daemon = Daemon::start(&["--set", &format!("admin.token_file={}", file.display())]);
    let status = |target: &str, headers: &[(&str, &str)]| {
        http::request(daemon.address, "GET", target, headers, b"").status
    };
    let wrong = [("authorization", "Bearer token-of-somebody")];
    let right = [("authorization", "Bearer token-of-the-operators")];
    for target in ["/readyz", "/metrics"] {
        assert_eq!([status(target, &[]), status(target, &wrong), status(target, &right)], [401, 401, 200]);
    }
    assert_eq!(status("/healthz", &[]), 200);
}
