//! The Engine.IO protocol documents (revisions 3 and 4), sentence by sentence, on raw sockets.

use std::time::Instant;

use humble_broker::wire::frame;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

const FAST: [&str; 4] = ["--set", "socketio.ping_interval=300ms", "--set", "socketio.ping_timeout=200ms"];

// Handshake

#[test]
fn a_handshake_says_what_the_client_must_know() {
    let daemon = Daemon::start(&FAST);
    let known = "\"pingInterval\":300,\"pingTimeout\":200,\"maxPayload\":1000000}";
    let polling4 = http::get(daemon.address, "/socket.io/?EIO=4&transport=polling");
    assert_eq!(polling4.status, 200);
    assert_eq!(polling4.header("content-type"), Some("text/plain; charset=UTF-8"));
    let text = polling4.text();
    assert!(
        text.starts_with("0{\"sid\":\"")
            && text.contains("\"upgrades\":[\"websocket\"]")
            && text.ends_with(known)
    );

    let polling3 = http::get(daemon.address, "/socket.io/?EIO=3&transport=polling").text();
    let (length, packet) = polling3.split_once(':').unwrap();
    assert!(
        packet.starts_with("0{\"sid\":\"") && packet.contains("\"upgrades\":[\"websocket\"]"),
        "{packet}"
    );
    // Behind it may be the CONNECT packet that Engine.IO 3 clients are sent unasked.
    assert!(packet[..length.parse().unwrap()].ends_with(known), "{packet}");

    for generation in [3, 4] {
        let target = format!("/socket.io/?EIO={generation}&transport=websocket");
        let text = WebSocket::open(daemon.address, &target).text();
        assert!(
            text.starts_with("0{\"sid\":\"") && text.contains("\"upgrades\":[]") && text.ends_with(known),
            "{text}"
        );
    }
}

#[test]
fn session_ids_differ_and_cannot_be_guessed() {
    let daemon = Daemon::start(&[]);
    let mut ids: Vec<_> =
        (0..50).map(|_| Client::open(daemon.address, Way::Polling4).id().to_owned()).collect();
    // 96 random bits in base64.
    assert!(ids.iter().all(|id| id.len() == 16));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn a_request_that_is_wrong_is_told_so_with_400() {
    let daemon = Daemon::start(&[]);
    let session = Client::open(daemon.address, Way::Polling4);
    let id = session.id().to_owned();
    let known = format!("/socket.io/?EIO=4&transport=websocket&sid={id}");
    for (method, target, code) in [
        ("GET", "/socket.io/", 0),
        ("GET", "/socket.io/?EIO=4", 0),
        ("GET", "/socket.io/?EIO=4&transport=abc", 0),
        ("GET", "/socket.io/?EIO=abc&transport=polling", 5),
        ("GET", "/socket.io/?transport=polling", 5),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=unknown", 1),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=", 1),
        ("GET", "/socket.io/?EIO=3&transport=polling&sid=0123456789abcdef", 1),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "/socket.io/?EIO=4&transport=polling", 2),
        ("POST", "/socket.io/?EIO=4&transport=websocket", 2),
        // Not a WebSocket handshake.
        ("GET", "/socket.io/?EIO=4&transport=websocket", 3),
        ("GET", known.as_str(), 3),
    ] {
        let response = http::request(daemon.address, method, target, &[], b"");
        assert_eq!(response.status, 400, "{method} {target}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert!(
            response.text().starts_with(&format!("{{\"code\":{code},\"message\":\"")),
            "{target}: {}",
            response.text()
        );
    }
    assert!(
        WebSocket::try_open(daemon.address, "/socket.io/?EIO=4&transport=websocket&sid=unknown").is_err()
    );
}

#[test]
fn a_websocket_handshake_that_is_incomplete_is_refused() {
    let daemon = Daemon::start(&[]);
    let complete = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for missing in 0..complete.len() {
        let headers: Vec<_> =
            complete.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, h)| *h).collect();
        let target = "/socket.io/?EIO=4&transport=websocket";
        // The helper's own `connection: close` is there in any case, and asks for no upgrade.
        let response = http::request(daemon.address, "GET", target, &headers, b"");
        assert_eq!(response.status, 400, "without {:?}", complete[missing]);
    }
}

#[test]
fn transports_and_generations_can_be_switched_off() {
    let daemon =
        Daemon::start(&["--set", "socketio.transports=[\"polling\"]", "--set", "socketio.engine_io_3=false"]);
    let handshake = http::get(daemon.address, "/socket.io/?EIO=4&transport=polling").text();
    assert!(handshake.contains("\"upgrades\":[]"), "{handshake}");
    assert!(WebSocket::try_open(daemon.address, "/socket.io/?EIO=4&transport=websocket").is_err());
    let refused = http::get(daemon.address, "/socket.io/?EIO=3&transport=polling");
    assert_eq!((refused.status, refused.text().contains("\"code\":5")), (400, true));

    let daemon = Daemon::start(&["--set", "socketio.transports=[\"websocket\"]"]);
    assert_eq!(http::get(daemon.address, "/socket.io/?EIO=4&transport=polling").status, 400);
    Client::connect(daemon.address, Way::WebSocket4).assert_silence();
}

#[test]
fn the_path_can_be_chosen() {
    let daemon = Daemon::start(&["--set", "server.path=/chat/io"]);
    for target in ["/chat/io/?EIO=4&transport=polling", "/chat/io?EIO=4&transport=polling"] {
        assert_eq!(http::get(daemon.address, target).status, 200, "{target}");
    }
    assert_eq!(http::get(daemon.address, "/socket.io/?EIO=4&transport=polling").status, 404);
}

// Heartbeat

#[test]
fn in_revision_4_the_server_pings_and_closes_who_does_not_answer() {
    let daemon = Daemon::start(&FAST);
    let began = Instant::now();
    let mut socket = WebSocket::open(daemon.address, "/socket.io/?EIO=4&transport=websocket");
    socket.text();
    for beat in 1..=3_u32 {
        assert_eq!(socket.text(), "2");
        // Not at once: after the interval that the handshake announces.
        assert!(
            began.elapsed().as_millis() >= u128::from(300 * beat - 50),
            "beat {beat} after {:?}",
            began.elapsed()
        );
        socket.send("3");
    }
    assert_eq!(socket.text(), "2");
    assert!(matches!(socket.next(), Incoming::Close(_)));
    assert_eq!(socket.next(), Incoming::End);
    assert!(began.elapsed() < DEADLINE);
}

#[test]
fn in_revision_4_a_polling_client_is_pinged_too() {
    let daemon = Daemon::start(&FAST);
    let client = Client::open(daemon.address, Way::Polling4);
    for _ in 0..3 {
        assert_eq!(http::get(daemon.address, &client.polling_target()).text(), "2");
        let pong = http::request(daemon.address, "POST", &client.polling_target(), &[], b"3");
        assert_eq!((pong.status, pong.text().as_str()), (200, "ok"));
    }
    assert_eq!(http::get(daemon.address, &client.polling_target()).text(), "2");
    // No pong: the poll that waits is answered with 400, after which clients come back.
    assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
}

#[test]
fn in_revision_3_the_client_pings_and_is_closed_if_it_does_not() {
    let daemon = Daemon::start(&FAST);
    let mut socket = Client::connect(daemon.address, Way::WebSocket3);
    let socket = socket.socket();
    for _ in 0..5 {
        socket.send("2");
        assert_eq!(socket.text(), "3");
    }
    assert!(matches!(socket.next(), Incoming::Close(_)));
    let polling = Client::connect(daemon.address, Way::Polling3);
    let ping = http::request(daemon.address, "POST", &polling.polling_target(), &[], b"1:2");
    assert_eq!(ping.text(), "ok");
    assert_eq!(http::get(daemon.address, &polling.polling_target()).text(), "1:3");
    assert_eq!(http::get(daemon.address, &polling.polling_target()).status, 400);
}

// Payloads

#[test]
fn payloads_of_revision_4_separate_packets_with_a_record_separator() {
    let daemon = Daemon::start(&[]);
    let client = Client::connect(daemon.address, Way::Polling4);
    let target = client.polling_target();
    let body = "42[\"subscribe\",\"r\"]\x1e451-[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==\
                \x1e42[\"publish\",\"r\",\"é😀\"]";
    assert_eq!(http::request(daemon.address, "POST", &target, &[], body.as_bytes()).text(), "ok");
    let payload = http::get(daemon.address, &target);
    assert_eq!(payload.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(
        payload.text(),
        "451-[\"data\",\"r\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==\x1e42[\"data\",\"r\",\"é😀\"]"
    );
}

#[test]
fn payloads_of_revision_3_state_lengths_in_characters_or_bytes() {
    let daemon = Daemon::start(&[]);
    let event = "451-[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]";
    let data = event.replace("publish", "data");
    // As text, for clients that ask for base64: lengths in UTF-16 code units, as in JavaScript.
    let base64 = http::get(daemon.address, "/socket.io/?EIO=3&transport=polling&b64=1").text();
    let id = base64.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&sid={id}");
    let subscribe = "42[\"subscribe\",\"r\"]";
    let emoji = "42[\"publish\",\"r\",\"é😀\"]";
    let body = format!(
        "{}:{subscribe}{}:{event}10:b4AQIDBA=={}:{emoji}",
        subscribe.len(),
        event.len(),
        emoji.encode_utf16().count()
    );
    let headers = [("content-type", "text/plain;charset=UTF-8")];
    assert_eq!(http::request(daemon.address, "POST", &target, &headers, body.as_bytes()).text(), "ok");
    let emoji = emoji.replace("publish", "data");
    let mut received = String::new();
    while !received.contains("😀") {
        let payload = http::get(daemon.address, &target);
        assert_eq!(payload.header("content-type"), Some("text/plain; charset=UTF-8"));
        received += &payload.text();
    }
    let expected = format!("{}:{data}10:b4AQIDBA=={}:{emoji}", data.len(), emoji.encode_utf16().count());
    assert_eq!(received.strip_prefix("2:40").unwrap_or(&received), expected);

    // As bytes, for all others, when there is anything binary: lengths in bytes.
    let client = Client::connect(daemon.address, Way::Polling3);
    let target = client.polling_target();
    let mut body = Vec::new();
    for packet in [subscribe, event] {
        body.push(0);
        body.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
        body.push(0xff);
        body.extend(packet.as_bytes());
    }
    body.extend([1, 5, 0xff, 4, 1, 2, 3, 4]);
    let headers = [("content-type", "application/octet-stream")];
    assert_eq!(http::request(daemon.address, "POST", &target, &headers, &body).text(), "ok");
    let payload = http::get(daemon.address, &target);
    assert_eq!(payload.header("content-type"), Some("application/octet-stream"));
    let mut expected = vec![0];
    expected.extend(data.len().to_string().bytes().map(|digit| digit - b'0'));
    expected.push(0xff);
    expected.extend(data.as_bytes());
    expected.extend([1, 5, 0xff, 4, 1, 2, 3, 4]);
    assert_eq!(payload.body, expected);
}

#[test]
fn a_body_above_the_limit_gets_413_and_a_frame_above_it_closes_with_1009() {
    let daemon = Daemon::start(&["--set", "limits.max_payload=10 kB"]);
    for (way, body) in
        [(Way::Polling3, format!("10001:4{}", "x".repeat(10_000))), (Way::Polling4, "4".repeat(10_001))]
    {
        let client = Client::connect(daemon.address, way);
        assert_eq!(
            http::request(daemon.address, "POST", &client.polling_target(), &[], body.as_bytes()).status,
            413
        );
    }
    let mut witness = Client::connect(daemon.address, Way::WebSocket4);
    witness.subscribe("\"witness\"");
    for way in [Way::WebSocket3, Way::WebSocket4, Way::Upgrade4] {
        let mut client = Client::connect(daemon.address, way);
        // At the limit: 10,000 bytes with the Engine.IO packet type.
        let frame_text = format!("[\"publish\",\"r\",\"{}\"]", "x".repeat(10_000 - 2 - 1 - 18));
        assert_eq!(client.ask(&frame_text), "[]");
        let socket = client.socket();
        let mut bytes = bytes::BytesMut::new();
        frame::put_masked(&mut bytes, frame::TEXT, b"42[\"publish\",\"witness\",1]");
        frame::put_masked(&mut bytes, frame::TEXT, &[b'4'; 10_001]);
        socket.send_raw(&bytes);
        // What came before it is served, though it came in the same segment.
        witness.expect("[\"data\",\"witness\",1]");
        assert_eq!(socket.next(), Incoming::Close(Some(1009)), "{way:?}");
        assert_eq!(socket.next(), Incoming::End);
    }
    // Fragments count together.
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    for fragment in 0..3_u8 {
        let mut bytes = bytes::BytesMut::new();
        frame::put_masked(&mut bytes, if fragment == 0 { frame::TEXT } else { 0 }, &[b'4'; 4_000]);
        bytes[0] &= 0x7f;
        client.socket().send_raw(&bytes);
    }
    assert_eq!(client.socket().next(), Incoming::Close(Some(1009)));
}

// Close, and requests that overlap

#[test]
fn a_client_can_close_its_session() {
    let daemon = Daemon::start(&[]);
    for way in [Way::WebSocket3, Way::WebSocket4] {
        let mut client = Client::connect(daemon.address, way);
        client.send("1");
        loop {
            if client.socket().next() == Incoming::End {
                break;
            }
        }
    }
    let client = Client::connect(daemon.address, Way::Polling4);
    let target = client.polling_target();
    let mut poll = http::connect(daemon.address);
    http::send(&mut poll, "GET", &target, &[], b"");
    // The poll has to be there first; it is answered only by what the close brings.
    daemon.await_metric("humble_broker_connections{transport=\"polling\",protocol=\"4\"}", 1.0);
    assert_eq!(http::request(daemon.address, "POST", &target, &[], b"1").text(), "ok");
    let answer = http::receive(&mut poll);
    assert!(answer.status == 400 || answer.text() == "6", "{answer:?}");
    assert_eq!(http::get(daemon.address, &target).status, 400);
    for protocol in ["3", "4"] {
        for transport in ["polling", "websocket"] {
            let labels = format!("{{transport=\"{transport}\",protocol=\"{protocol}\"}}");
            daemon.await_metric(&format!("humble_broker_connections{labels}"), 0.0);
        }
    }
}

#[test]
fn two_polls_at_once_end_the_session() {
    let daemon = Daemon::start(&[]);
    let client = Client::connect(daemon.address, Way::Polling4);
    let target = client.polling_target();
    let mut polls = [http::connect(daemon.address), http::connect(daemon.address)];
    for poll in &mut polls {
        http::send(poll, "GET", &target, &[], b"");
    }
    let statuses = polls.map(|mut poll| http::receive(&mut poll).status);
    assert!(statuses.contains(&400), "{statuses:?}");
    assert_eq!(http::get(daemon.address, &target).status, 400);
}

#[test]
fn packets_that_no_client_sends_end_the_session() {
    let daemon = Daemon::start(&[]);
    for body in ["0", "5", "6", "x", "9", "b!", "\x1e\x1e", ""] {
        let client = Client::connect(daemon.address, Way::Polling4);
        let target = client.polling_target();
        let answer = http::request(daemon.address, "POST", &target, &[], body.as_bytes());
        if body.is_empty() {
            assert_eq!(answer.status, 200);
        } else {
            assert_eq!(answer.status, 400, "{body:?}");
        }
    }
    for body in ["abc", "5:4", "x:4", "-1:4"] {
        let client = Client::connect(daemon.address, Way::Polling3);
        assert_eq!(
            http::request(daemon.address, "POST", &client.polling_target(), &[], body.as_bytes()).status,
            400,
            "{body}"
        );
    }
}

// WebSocket

#[test]
fn websocket_pings_are_answered_and_fragments_are_joined() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe("\"r\"");
    let socket = client.socket();
    socket.send_frame(frame::PING, b"are you there");
    assert_eq!(socket.next(), Incoming::Pong(b"are you there".to_vec()));
    let event = b"42[\"publish\",\"r\",\"in three fragments\"]";
    for (n, fragment) in event.chunks(15).enumerate() {
        let mut bytes = bytes::BytesMut::new();
        frame::put_masked(&mut bytes, if n == 0 { frame::TEXT } else { 0 }, fragment);
        let last = n + 1 == event.chunks(15).count();
        if !last {
            bytes[0] &= 0x7f;
        }
        socket.send_raw(&bytes);
        if last {
            break;
        }
        socket.send_frame(frame::PING, b"between");
        assert_eq!(socket.next(), Incoming::Pong(b"between".to_vec()));
    }
    client.expect("[\"data\",\"r\",\"in three fragments\"]");
    client.socket().send_frame(frame::CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.socket().next(), Incoming::Close(Some(1000)));
    assert_eq!(client.socket().next(), Incoming::End);
}

#[test]
fn a_first_message_in_fragments_is_not_torn_by_our_own_pong() {
    let daemon = Daemon::start(&[]);
    let mut socket = WebSocket::open(daemon.address, &Way::WebSocket4.target("websocket"));
    let mut fragments = [bytes::BytesMut::new(), bytes::BytesMut::new(), bytes::BytesMut::new()];
    for (fragment, (opcode, payload)) in
        fragments.iter_mut().zip([(frame::TEXT, &b""[..]), (0, b"4"), (0, b"0")])
    {
        frame::put_masked(fragment, opcode, payload);
        fragment[0] &= 0x7f;
    }
    fragments[2][0] |= 0x80;
    for fragment in &fragments {
        socket.send_raw(fragment);
        // An answer shows that what came before has been read, and that the session runs.
        socket.send_frame(frame::PING, b"");
    }
    loop {
        match socket.next() {
            Incoming::Text(text) if text.starts_with("40{") => break,
            Incoming::Text(_) | Incoming::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn frames_cut_into_single_bytes_are_understood() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    let mut bytes = bytes::BytesMut::new();
    frame::put_masked(&mut bytes, frame::TEXT, b"427[\"subscribe\",\"r\"]");
    for byte in bytes {
        client.socket().send_raw(&[byte]);
    }
    assert_eq!(client.acknowledgement(7), "[]");
}
