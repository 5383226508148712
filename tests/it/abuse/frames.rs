//! WebSocket frames that RFC 6455 does not allow, and some that it does but nobody expects.

use bytes::BytesMut;
use humble_broker::protocol::Encoding;
use humble_broker::wire::frame;

use super::Group;
use super::Probe;
use super::WEBSOCKET;
use super::ending;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::websocket::Incoming;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "a frame that is cut off", ways: WEBSOCKET, times: 20, act: cut_off },
        Probe { name: "a frame that claims to be enormous", ways: WEBSOCKET, times: 20, act: enormous },
        Probe {
            name: "fragments that are too large together",
            ways: WEBSOCKET,
            times: 5,
            act: large_fragments,
        },
        Probe { name: "a frame without a mask", ways: WEBSOCKET, times: 20, act: unmasked },
        Probe { name: "reserved bits", ways: WEBSOCKET, times: 5, act: reserved_bits },
        Probe { name: "reserved opcodes", ways: WEBSOCKET, times: 2, act: reserved_opcodes },
        Probe { name: "control frames that are too long", ways: WEBSOCKET, times: 5, act: long_control },
        Probe { name: "control frames in fragments", ways: WEBSOCKET, times: 5, act: fragmented_control },
        Probe {
            name: "the rest of a message that never began",
            ways: WEBSOCKET,
            times: 10,
            act: continuation,
        },
        Probe { name: "a message inside another", ways: WEBSOCKET, times: 10, act: interleaved },
        Probe { name: "text that is not UTF-8", ways: WEBSOCKET, times: 3, act: invalid_text },
        Probe { name: "a close reason that is not UTF-8", ways: WEBSOCKET, times: 10, act: invalid_reason },
        Probe { name: "close codes that must not be sent", ways: WEBSOCKET, times: 2, act: invalid_codes },
        Probe { name: "a close frame of one byte", ways: WEBSOCKET, times: 10, act: short_close },
        Probe { name: "frames after a close frame", ways: WEBSOCKET, times: 10, act: after_close },
        Probe { name: "a message in 10,000 fragments", ways: WEBSOCKET, times: 1, act: many_fragments },
        Probe { name: "a message that never ends", ways: WEBSOCKET, times: 20, act: endless },
        Probe { name: "sockets closed by half", ways: WEBSOCKET, times: 20, act: half_closed },
        Probe { name: "resets in the midst of a frame", ways: WEBSOCKET, times: 20, act: reset },
    ],
};

#[test]
fn broken_frames_end_their_own_connection_only() {
    GROUP.run();
}

/// A frame with any first byte and a mask of zeros.
fn frame_of(first: u8, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::put_masked(&mut out, frame::TEXT, payload);
    out[0] = first;
    out
}

/// Sends `bytes` over a fresh connection and returns how it is ended.
fn ending_after(daemon: &Daemon, way: Way, bytes: &[u8]) -> Incoming {
    let mut client = Client::connect(daemon.address, way);
    // What breaks the rules right behind an upgrade meets a library that has no writer yet, and
    // ends without a close frame: so something is asked that it answers itself.
    client.send("40/nowhere,");
    let answer = client.text();
    assert!(answer.starts_with("44/nowhere,"), "{answer}");
    client.socket().send_raw(bytes);
    ending(client.socket())
}

/// Asserts that these bytes fail the connection.
///
/// RFC 6455, section 7.1.7, has a server that fails a connection say why *if it can*: the library
/// closes without a code, which clients take for the same.
fn assert_fails(daemon: &Daemon, way: Way, bytes: &[u8], code: u16) {
    let ended = ending_after(daemon, way, bytes);
    let start = &bytes[..bytes.len().min(16)];
    assert!([None, Some(code)].map(Incoming::Close).contains(&ended), "{ended:?} after {start:x?}");
}

fn cut_off(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let whole = frame_of(0x81, b"42[\"publish\",\"bystander\",\"cut off\"]");
    for length in [1, 2, 5, 6, 7, whole.len() - 1] {
        let mut other = Client::connect(daemon.address, way);
        other.socket().send_raw(&whole[..length]);
    }
    client.assert_silence();
}

fn enormous(daemon: &Daemon, way: Way) {
    for length in [200_001, u64::MAX >> 1] {
        let head = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4], b"x"].concat();
        assert_eq!(ending_after(daemon, way, &head), Incoming::Close(Some(1009)), "{length}");
    }
    // The highest bit of a length must be zero (RFC 6455, section 5.2).
    let head = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4], b"x"].concat();
    let ended = ending_after(daemon, way, &head);
    assert!([1002, 1009].map(|code| Incoming::Close(Some(code))).contains(&ended), "{ended:?}");
}

fn large_fragments(daemon: &Daemon, way: Way) {
    let part = vec![b'4'; 50_000];
    let mut bytes = frame_of(0x01, &part);
    for _ in 0..4 {
        bytes.extend(frame_of(0x00, &part));
    }
    assert_eq!(ending_after(daemon, way, &bytes), Incoming::Close(Some(1009)));
}

fn unmasked(daemon: &Daemon, way: Way) {
    let mut bytes = BytesMut::new();
    frame::put(&mut bytes, frame::TEXT, b"42[\"subscribe\",\"r\"]");
    assert_fails(daemon, way, &bytes, 1002);
}

fn reserved_bits(daemon: &Daemon, way: Way) {
    for bit in [0x40, 0x20, 0x10] {
        assert_fails(daemon, way, &frame_of(0x81 | bit, b"42[\"subscribe\",\"r\"]"), 1002);
        assert_fails(daemon, way, &frame_of(0x89 | bit, b"ping"), 1002);
    }
}

fn reserved_opcodes(daemon: &Daemon, way: Way) {
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_fails(daemon, way, &frame_of(0x80 | opcode, b"x"), 1002);
    }
}

fn long_control(daemon: &Daemon, way: Way) {
    for opcode in [0x88, 0x89, 0x8a] {
        assert_fails(daemon, way, &frame_of(opcode, &[b'x'; 126]), 1002);
        assert_fails(daemon, way, &frame_of(opcode, &vec![b'x'; 70_000]), 1002);
    }
}

fn fragmented_control(daemon: &Daemon, way: Way) {
    for opcode in [0x08, 0x09, 0x0a] {
        let bytes = [&frame_of(opcode, b"")[..], &frame_of(0x80, b"")].concat();
        assert_fails(daemon, way, &bytes, 1002);
    }
}

fn continuation(daemon: &Daemon, way: Way) {
    assert_fails(daemon, way, &frame_of(0x80, b"42[\"subscribe\",\"r\"]"), 1002);
    assert_fails(daemon, way, &frame_of(0x00, b"42[\"subscribe\",\"r\"]"), 1002);
}

fn interleaved(daemon: &Daemon, way: Way) {
    let bytes = [&frame_of(0x01, b"42[\"subscribe\",")[..], &frame_of(0x81, b"2")].concat();
    assert_fails(daemon, way, &bytes, 1002);
}

fn invalid_text(daemon: &Daemon, way: Way) {
    for bytes in [&b"\xff"[..], b"\xc3", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"] {
        let text = [b"42[\"publish\",\"bystander\",\"", bytes, b"\"]"].concat();
        assert_fails(daemon, way, &frame_of(0x81, &text), 1007);
        // In two fragments, where only the whole shows it.
        let parts = [&frame_of(0x01, &text[..27])[..], &frame_of(0x80, &text[27..])].concat();
        assert_fails(daemon, way, &parts, 1007);
    }
}

fn invalid_reason(daemon: &Daemon, way: Way) {
    assert_fails(daemon, way, &frame_of(0x88, b"\x03\xe8\xff\xfe"), 1007);
}

fn invalid_codes(daemon: &Daemon, way: Way) {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert_fails(daemon, way, &frame_of(0x88, &code.to_be_bytes()), 1002);
    }
    // One that may be sent is answered with a close frame, which need not repeat it (section 5.5.1).
    assert_fails(daemon, way, &frame_of(0x88, b"\x0b\xb8bye"), 3000);
}

fn short_close(daemon: &Daemon, way: Way) {
    assert_fails(daemon, way, &frame_of(0x88, b"\x03"), 1002);
}

fn after_close(daemon: &Daemon, way: Way) {
    let mut witness = Client::connect(daemon.address, Way::WebSocket4);
    witness.subscribe("\"after\"");
    let mut bytes = frame_of(0x88, b"\x03\xe8");
    for _ in 0..100 {
        bytes.extend(frame_of(0x81, b"42[\"publish\",\"after\",1]"));
    }
    assert_fails(daemon, way, &bytes, 1000);
    witness.assert_silence();
}

fn many_fragments(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let event = b"427[\"subscribe\",\"r\"]";
    let mut bytes = frame_of(0x01, b"");
    for n in 0..10_000 {
        // Pings may come between fragments, and must be answered there.
        if n % 1_000 == 0 {
            bytes.extend(frame_of(0x89, b"between"));
        }
        bytes.extend(frame_of(0x00, event.get(n..=n).unwrap_or_default()));
    }
    bytes.extend(frame_of(0x80, b""));
    client.socket().send_raw(&bytes);
    let (mut pongs, mut answer) = (0, String::new());
    while answer.is_empty() {
        match client.socket().next() {
            Incoming::Pong(payload) => pongs += usize::from(payload == b"between"),
            Incoming::Text(text) if text.starts_with("43") => answer = text,
            Incoming::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answer, "437[]");
    assert!(pongs > 0, "no ping was answered");
}

fn endless(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    client.socket().send_raw(&frame_of(0x01, &vec![b'4'; 100_000]));
    // An empty fragment is no progress, and costs nothing.
    client.socket().send_raw(&frame_of(0x00, b""));
}

fn half_closed(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    client.socket().send("42[\"subscribe\",\"r\"]");
    client.socket().stop_sending();
    assert!(matches!(ending(client.socket()), Incoming::Close(_) | Incoming::End));
}

fn reset(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for n in 0..3 {
        client.socket().send(&format!("42{n}[\"subscribe\",{n}]"));
    }
    client.socket().send_raw(&frame_of(0x81, &[b'4'; 1_000])[..500]);
    // Input that has come and was not read turns the close into a reset.
    client.socket().await_input();
}
