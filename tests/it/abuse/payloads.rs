//! Bodies of long-polling requests that are no payloads, or too much of one.

use humble_broker::protocol::Encoding;

use super::Group;
use super::POLLING;
use super::Probe;
use super::leave;
use super::post;
use super::post_bytes;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "lengths that are wrong", ways: &[Way::Polling3], times: 2, act: wrong_lengths },
        Probe { name: "binary payloads that are wrong", ways: &[Way::Polling3], times: 2, act: wrong_binary },
        Probe { name: "thousands of packets in a body", ways: POLLING, times: 2, act: thousands },
        Probe { name: "empty bodies", ways: POLLING, times: 20, act: empty_bodies },
        Probe { name: "content types that are wrong", ways: POLLING, times: 5, act: content_types },
        Probe { name: "bodies that are too large", ways: POLLING, times: 10, act: too_large },
        Probe { name: "bodies that are not UTF-8", ways: POLLING, times: 10, act: not_utf8 },
        Probe { name: "base64 that is none", ways: POLLING, times: 5, act: not_base64 },
        Probe { name: "packets behind a close", ways: POLLING, times: 10, act: behind_a_close },
        Probe { name: "separators and nothing else", ways: &[Way::Polling4], times: 5, act: separators },
    ],
};

#[test]
fn bodies_that_are_no_payloads_end_their_session_only() {
    GROUP.run();
}

/// Asserts that each body is answered with `status`, and that the session is over.
fn assert_each_ends(daemon: &Daemon, way: Way, status: u16, headers: &[(&str, &str)], bodies: &[&[u8]]) {
    for body in bodies {
        let client = Client::connect(daemon.address, way);
        let answer = post_bytes(daemon, &client, headers, body);
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(answer, status, "{start:?}");
        assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400, "after {start:?}");
    }
}

fn wrong_lengths(daemon: &Daemon, way: Way) {
    let bodies: [&[u8]; 9] = [
        b"5:4",
        b"100:42[\"subscribe\",\"r\"]",
        b"2:42[\"subscribe\",\"r\"]",
        b"-1:4",
        b"99999999999999999999:4",
        b"x:4",
        b"abc",
        b":",
        b"4",
    ];
    assert_each_ends(daemon, way, 400, &[], &bodies);
    // In characters of JavaScript, of which an emoji is two.
    assert_each_ends(daemon, way, 400, &[], &["4:4😀😀".as_bytes()]);
}

fn wrong_binary(daemon: &Daemon, way: Way) {
    let headers = [("content-type", "application/octet-stream")];
    let bodies: [&[u8]; 6] = [
        b"\x00\x05\xff4",
        b"\x02\x01\xff4",
        b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4",
        b"\x00\x0b\xff4",
        b"\x00\x00\xff4",
        b"\xff",
    ];
    assert_each_ends(daemon, way, 400, &headers, &bodies);
}

fn thousands(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let event = "42[\"unsubscribe\",0]";
    let body = match way {
        Way::Polling3 => format!("{}:{event}", event.len()).repeat(5_000),
        _ => vec![event; 5_000].join("\x1e"),
    };
    assert_eq!(post(daemon, &client, &body), 200);
    client.assert_silence();
    leave(daemon, client);
    // As many packets as fit, the smallest there are: no client has that much to say beside events.
    let body = if way == Way::Polling3 { "1:3".repeat(60_000) } else { vec!["3"; 90_000].join("\x1e") };
    let client = Client::connect(daemon.address, way);
    assert_eq!(post(daemon, &client, &body), 200);
    assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
}

fn empty_bodies(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for _ in 0..5 {
        assert_eq!(post(daemon, &client, ""), 200);
    }
    client.assert_silence();
    leave(daemon, client);
}

fn content_types(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let packet = if way == Way::Polling3 { "19:42[\"unsubscribe\",0]" } else { "42[\"unsubscribe\",0]" };
    for content_type in
        ["", "text/html", "application/json", "multipart/form-data; boundary=x", "a/b/c", "\u{fe}"]
    {
        let headers = [("content-type", content_type)];
        assert_eq!(post_bytes(daemon, &client, &headers, packet.as_bytes()), 200, "{content_type}");
    }
    client.assert_silence();
    // Text that says it is binary is none, in the generation that knows the difference.
    let headers = [("content-type", "application/octet-stream")];
    let status = post_bytes(daemon, &client, &headers, packet.as_bytes());
    // The library says `ok` to a binary payload whose first length does not end, and drops it.
    assert!(status == 200 || (way == Way::Polling3 && status == 400), "{status}");
    leave(daemon, client);
}

fn too_large(daemon: &Daemon, way: Way) {
    let packet = format!("4{}", "x".repeat(200_000));
    let body = if way == Way::Polling3 { format!("200001:{packet}") } else { packet };
    assert_each_ends(daemon, way, 413, &[], &[body.as_bytes()]);
}

fn not_utf8(daemon: &Daemon, way: Way) {
    let (one, two): (&[u8], &[u8]) = match way {
        Way::Polling3 => (b"2:4\xff", b"22:42[\"broadcast\",\"\xed\xa0\x80\"]"),
        _ => (b"4\xff", b"42[\"broadcast\",\"\xed\xa0\x80\"]"),
    };
    assert_each_ends(daemon, way, 400, &[], &[one, two]);
}

fn not_base64(daemon: &Daemon, way: Way) {
    let bodies: [&[u8]; 4] = match way {
        Way::Polling3 => [b"6:b4****", b"3:b4A", b"6:b4A=A=", b"4:b4\xc3\xa9\xc3\xa9"],
        _ => [b"b****", b"bA", b"bA=A=", b"b\xc3\xa9"],
    };
    assert_each_ends(daemon, way, 400, &[], &bodies);
}

fn behind_a_close(daemon: &Daemon, way: Way) {
    let mut witness = Client::connect(daemon.address, Way::WebSocket4);
    witness.subscribe("\"behind\"");
    let client = Client::connect(daemon.address, way);
    let event = "42[\"publish\",\"behind\",1]";
    let body = match way {
        Way::Polling3 => format!("1:1{}:{event}", event.len()),
        _ => format!("1\x1e{event}"),
    };
    post(daemon, &client, &body);
    assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
    witness.assert_silence();
}

fn separators(daemon: &Daemon, way: Way) {
    assert_each_ends(daemon, way, 400, &[], &[b"\x1e", &vec![0x1e; 100_000], b"3\x1e\x1e3"]);
}
