//! MessagePack that is deep, endless, or none, where it is the parser.

use humble_broker::protocol::Encoding;

use super::Group;
use super::Probe;
use super::assert_ended;
use super::leave;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Msgpack,
    settings: &["socketio.parser=msgpack"],
    probes: &[
        Probe { name: "100,000 arrays in one another", ways: ALL, times: 3, act: deep },
        Probe { name: "lengths that are promised and not kept", ways: ALL, times: 2, act: promised },
        Probe { name: "a large value of MessagePack", ways: ALL, times: 5, act: large },
        Probe { name: "what is no MessagePack packet", ways: ALL, times: 2, act: no_packet },
        Probe { name: "JSON where MessagePack is spoken", ways: ALL, times: 5, act: json },
        Probe { name: "MessagePack events that are wrong", ways: ALL, times: 2, act: wrong_events },
        Probe { name: "MessagePack before CONNECT", ways: ALL, times: 5, act: before_connect },
    ],
};

const ALL: &[Way] = &[Way::WebSocket4, Way::Polling4];

#[test]
fn messagepack_that_is_broken_ends_its_own_connection_only() {
    GROUP.run();
}

/// A client in the namespace.
fn connect(daemon: &Daemon, way: Way) -> Client {
    let mut client = Client::open(daemon.address, way);
    client.send_binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
    client.binary();
    client
}

/// An event that asks for an acknowledgement.
fn event(data: &[u8]) -> Vec<u8> {
    [b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data", data, b"\xa2id\x07"].concat()
}

/// Sends bytes as one binary message, over either transport; a refusal is for the caller.
fn send(daemon: &Daemon, client: &mut Client, bytes: &[u8]) {
    match client.way() {
        Way::Polling4 => {
            use base64::Engine as _;
            let body = format!("b{}", base64::prelude::BASE64_STANDARD.encode(bytes));
            super::post(daemon, client, &body);
        }
        _ => client.socket().send_binary(bytes),
    }
}

fn assert_each_refused(daemon: &Daemon, way: Way, code: &[u8], events: &[Vec<u8>]) {
    let mut client = connect(daemon, way);
    for data in events {
        send(daemon, &mut client, &event(data));
        let answer = client.binary();
        let told = answer.windows(code.len()).any(|window| window == code);
        assert!(told, "{:x?}: {:x?}", &data[..data.len().min(20)], String::from_utf8_lossy(&answer));
    }
    leave(daemon, client);
}

fn assert_each_ends(daemon: &Daemon, way: Way, messages: &[&[u8]]) {
    for message in messages {
        let mut client = connect(daemon, way);
        send(daemon, &mut client, message);
        assert_ended(daemon, &mut client);
    }
}

fn deep(daemon: &Daemon, way: Way) {
    let arrays = [vec![0x91; 100_000], vec![0xc0]].concat();
    let maps = [b"\x81\xa1k".repeat(30_000), b"\xc0".to_vec()].concat();
    for nested in [&arrays, &maps] {
        let mut client = connect(daemon, way);
        send(daemon, &mut client, &event(&[b"\x93\xa7publish\xa1r", &nested[..]].concat()));
        // Refused with a reason, or, where the library would have to follow it, ended.
        assert_refused_or_ended(daemon, client);
    }
    let as_packet = [&arrays[..], &maps].concat();
    assert_each_ends(daemon, way, &[&as_packet]);
}

fn assert_refused_or_ended(daemon: &Daemon, mut client: Client) {
    if client.way() == Way::Polling4 {
        let answer = crate::support::http::get(daemon.address, &client.polling_target());
        if answer.status == 200 {
            leave(daemon, client);
        }
    } else {
        use crate::support::websocket::Incoming;
        match client.socket().next() {
            Incoming::Binary(answer) => {
                assert!(answer.windows(9).any(|window| window == b"malformed"));
            }
            Incoming::Close(_) | Incoming::End => {}
            other => panic!("{other:?}"),
        }
    }
}

fn promised(daemon: &Daemon, way: Way) {
    for value in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdc\xff\xff\x01",
    ] {
        let mut client = connect(daemon, way);
        send(
            daemon,
            &mut client,
            &[b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa7publish\xa1r", value].concat(),
        );
        // Whether it counts as an event without an acknowledgement, or as no packet.
        leave(daemon, client);
        assert_each_ends(daemon, way, &[value]);
    }
}

fn large(daemon: &Daemon, way: Way) {
    let mut client = connect(daemon, way);
    let bytes = vec![0xff; 100_000];
    let value = [&b"\x93\xa7publish\xa6nobody\xc6"[..], &100_000_u32.to_be_bytes(), &bytes].concat();
    for _ in 0..5 {
        send(daemon, &mut client, &event(&value));
        assert!(client.binary().starts_with(b"\x84\xa4type\x03"));
    }
    leave(daemon, client);
}

fn no_packet(daemon: &Daemon, way: Way) {
    // An event without a namespace, and without anything else, reaches nobody.
    let mut client = connect(daemon, way);
    send(daemon, &mut client, b"\x81\xa4type\x02");
    send(daemon, &mut client, &event(b"\x92\xa9subscribe\xa1r"));
    assert!(client.binary().starts_with(b"\x84\xa4type\x03"));
    leave(daemon, client);
    assert_each_ends(
        daemon,
        way,
        &[
            b"\xc1",
            b"\xc0",
            b"\x90",
            b"\x80",
            b"\x07",
            b"\x82\xa4type\x09\xa3nsp\xa1/",
            b"\x82\xa4type\xff\xa3nsp\xa1/",
            b"\x82\xa4type\xa12\xa3nsp\xa1/",
            b"\x82\xa4type\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/",
            b"\x82\xa4type\x02\xa3nsp\x01",
            b"\x82\xa4type\x02\xa3nsp\xa1\xff",
        ],
    );
}

fn json(daemon: &Daemon, way: Way) {
    for packet in ["42[\"subscribe\",\"r\"]", "40", "4", "4{}"] {
        let mut client = connect(daemon, way);
        super::say(daemon, &mut client, packet);
        assert_ended(daemon, &mut client);
    }
}

fn wrong_events(daemon: &Daemon, way: Way) {
    let malformed = [
        &b"\x94\xa7publish\xa1r\x01\x02"[..],
        b"\x92\xa7publish\xa1r",
        b"\x91\xa9subscribe",
        b"\x93\xa7publish\xa1r\x81\x90\x01",
        b"\x93\xa7publish\xa1r\xd4\xfe\x00",
    ];
    assert_each_refused(daemon, way, b"malformed", &malformed.map(<[u8]>::to_vec));
    let rooms = [&b"\x92\xa9subscribe\xa0"[..], b"\x92\xa9subscribe\xc0", b"\x92\xa9subscribe\x90"];
    assert_each_refused(daemon, way, b"invalid_room", &rooms.map(<[u8]>::to_vec));
    assert_each_refused(daemon, way, b"unknown_event", &[b"\x92\xa4nope\x01".to_vec()]);
}

fn before_connect(daemon: &Daemon, way: Way) {
    let mut client = Client::open(daemon.address, way);
    send(daemon, &mut client, &event(b"\x92\xa9subscribe\xa1r"));
    assert_ended(daemon, &mut client);
}
