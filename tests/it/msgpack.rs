//! `socketio.parser = "msgpack"`: the same promises, byte for byte.

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Nodes;
use crate::support::Redis;
use crate::support::Way;
use crate::support::websocket::Incoming;

/// A client that speaks MessagePack, and its Socket.IO packets.
struct Packed(Client);

impl Packed {
    fn connect(daemon: &Daemon, way: Way) -> Self {
        let mut client = Client::open(daemon.address, way);
        client.send_binary(&packet(b"\x00", b"", b""));
        let connected = client.binary();
        assert!(
            connected.starts_with(b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa3sid\xb0"),
            "{connected:x?}"
        );
        Self(client)
    }

    fn emit(&mut self, event: &[u8]) {
        self.0.send_binary(&packet(b"\x02", event, b""));
    }

    fn ask(&mut self, event: &[u8]) -> Vec<u8> {
        self.0.send_binary(&packet(b"\x02", event, b"\x07"));
        let start = b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data";
        let answer = self.0.binary();
        let rest = answer.strip_prefix(start).unwrap_or_else(|| panic!("{answer:x?}"));
        rest.strip_suffix(b"\xa2id\x07").unwrap_or_else(|| panic!("{answer:x?}")).to_vec()
    }

    fn expect(&mut self, event: &[u8]) {
        assert_eq!(self.0.binary(), [b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data", event].concat());
    }
}

fn packet(kind: &[u8], data: &[u8], id: &[u8]) -> Vec<u8> {
    let fields = 2 + u8::from(!data.is_empty()) + u8::from(!id.is_empty());
    let mut packet = [&[0x80 | fields], &b"\xa4type"[..], kind, b"\xa3nsp\xa1/"].concat();
    for (name, value) in [(&b"\xa4data"[..], data), (b"\xa2id", id)] {
        if !value.is_empty() {
            packet.extend([name, value].concat());
        }
    }
    packet
}

#[test]
fn every_value_arrives_byte_for_byte() {
    let daemon = Daemon::start(&["--set", "socketio.parser=msgpack"]);
    let long = [&[0xdb, 0, 13, 0xbb, 0xa0][..], &vec![b'x'; 900_000]].concat();
    let deep = [vec![0x91; 120], vec![0xc0]].concat();
    let values: Vec<&[u8]> = vec![
        b"\x00",
        b"\x7f",
        b"\xff",
        b"\xcc\x01",
        b"\xcd\x00\x01",
        b"\xce\x00\x00\x00\x01",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd0\x01",
        b"\xd1\x00\x01",
        b"\xd2\x00\x00\x00\x01",
        b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
        b"\xca\x3f\x80\x00\x00",
        b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xc0",
        b"\xc2",
        b"\xc3",
        b"\xa0",
        b"\xd9\x01x",
        b"\xda\x00\x01x",
        b"\xa2\xc3\xa9",
        b"\xa4\xf0\x9f\x98\x80",
        b"\xa1\x00",
        b"\xc4\x00",
        b"\xc4\x04\x00\x01\x02\x1e",
        b"\xc5\x00\x01\xff",
        b"\x90",
        b"\xdc\x00\x00",
        b"\x80",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xde\x00\x01\xa1a\xc0",
        b"\x81\xc4\x01k\x01",
        b"\xd4\x00\x00",
        b"\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\x93\x01\x90\xa1x",
        &long,
        &deep,
    ];
    let ways = [Way::WebSocket4, Way::Polling4];
    let mut subscribers = ways.map(|way| Packed::connect(&daemon, way));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.ask(b"\x92\xa9subscribe\xa1r"), b"\x90");
    }
    for way in ways {
        let mut publisher = Packed::connect(&daemon, way);
        for value in &values {
            // In polling base64 makes a body of it that is above the limit.
            if way == Way::Polling4 && value.len() > 700_000 {
                continue;
            }
            let event = [b"\x93\xa7publish\xd9\x01r", *value].concat();
            assert_eq!(publisher.ask(&event), b"\x90", "{value:.9x?}");
            for subscriber in &mut subscribers {
                // The room as it was published to: a str 8, though one byte less would do.
                subscriber.expect(&[b"\x93\xa4data\xd9\x01r", *value].concat());
            }
        }
        publisher.emit(b"\x92\xa9broadcast\xa2hi");
        for subscriber in &mut subscribers {
            subscriber.expect(b"\x92\xa9broadcast\xa2hi");
        }
        // So that later broadcasts are not for it.
        publisher.0.send_binary(&packet(b"\x01", b"", b""));
    }
}

#[test]
fn a_relay_carries_every_byte_to_other_nodes() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &["--set", "socketio.parser=msgpack"]);
    let mut clients: Vec<_> = nodes
        .0
        .iter()
        .zip([Way::WebSocket4, Way::Polling4, Way::WebSocket4])
        .map(|(node, way)| Packed::connect(node, way))
        .collect();
    for client in &mut clients {
        assert_eq!(client.ask(b"\x92\xa9subscribe\xd9\x01r"), b"\x90");
        assert_eq!(client.ask(b"\x92\xa9subscribe\x07"), b"\x90");
    }
    nodes.await_rooms(2);
    for sender in 0..clients.len() {
        for room in [&b"\xa1r"[..], b"\x07", b"\xcd\x00\x07"] {
            for value in [
                &b"\xc4\x04\x00\x01\x02\xff"[..],
                b"\xcb\x3f\xf0\0\0\0\0\0\0",
                b"\x82\xa1a\x01\xa1a\xd4\x00\x00",
            ] {
                clients[sender].emit(&[b"\x93\xa7publish", room, value].concat());
                for client in &mut clients {
                    client.expect(&[b"\x93\xa4data", room, value].concat());
                }
            }
        }
        clients[sender].emit(b"\x92\xa9broadcast\xd9\x02hi");
        for (number, client) in clients.iter_mut().enumerate() {
            if number != sender {
                client.expect(b"\x92\xa9broadcast\xd9\x02hi");
            }
        }
    }
    assert!(nodes.dropped("in") + nodes.dropped("out") < 0.5);
}

#[test]
fn poison_is_refused_with_the_same_codes() {
    let daemon = Daemon::start(&["--set", "socketio.parser=msgpack"]);
    let mut client = Packed::connect(&daemon, Way::WebSocket4);
    for (event, code) in [
        (&b"\x91\xa9subscribe"[..], "malformed"),
        (b"\x93\xa9subscribe\xa1r\x80", "malformed"),
        (b"\x91\xa4nope", "unknown_event"),
        (b"\x92\xa9subscribe\xc0", "invalid_room"),
        (b"\x92\xa9subscribe\xa0", "invalid_room"),
        (b"\x92\xa9subscribe\xca\x3f\x80\x00\x00", "invalid_room"),
        (b"\x93\xa7publish\xa1r\xa1\xff", "malformed"),
        (b"\x93\xa7publish\xa1r\x81\x01\x02", "malformed"),
        (b"\x93\xa7publish\xa1r\xd4\xf0\x00", "malformed"),
    ] {
        let refusal = client.ask(event);
        let text = String::from_utf8_lossy(&refusal);
        assert!(refusal.starts_with(b"\x91\x82\xa5error") && text.contains(code), "{event:x?}: {text}");
    }
    assert_eq!(client.ask(b"\x92\xa9subscribe\x07"), b"\x90");
    client.emit(b"\x93\xa7publish\xcd\x00\x07\x01");
    client.expect(b"\x93\xa4data\xcd\x00\x07\x01");
    client.emit(b"\x93\xa7publish\xa17\x02");
    assert_eq!(client.ask(b"\x92\xabunsubscribe\x07"), b"\x90");
}

#[test]
fn sessions_end_as_with_json() {
    let mut daemon = Daemon::start(&["--set", "socketio.parser=msgpack"]);
    let mut client = Packed::connect(&daemon, Way::WebSocket4);
    let polling = Packed::connect(&daemon, Way::Polling4);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(client.0.socket().next(), Incoming::Close(Some(1001)));
    assert_eq!(client.0.socket().next(), Incoming::End);
    assert_eq!(crate::support::http::get(daemon.address, &polling.0.polling_target()).status, 400);
    assert!(daemon.wait().success());
}
