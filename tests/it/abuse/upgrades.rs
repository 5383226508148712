//! Upgrades from polling to WebSocket that are played with, and the session that must outlive them.

use bytes::BytesMut;
use humble_broker::protocol::Encoding;
use humble_broker::wire::frame;

use super::Group;
use super::POLLING;
use super::Probe;
use super::leave;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "probes out of turn", ways: POLLING, times: 2, act: out_of_turn },
        Probe { name: "broken frames while probing", ways: POLLING, times: 1, act: broken_frames },
        Probe { name: "two upgrades at once", ways: POLLING, times: 10, act: two_at_once },
        Probe { name: "upgrades opened and abandoned", ways: POLLING, times: 2, act: abandoned },
        Probe { name: "upgrades that hang", ways: POLLING, times: 1, act: hanging },
        Probe { name: "polls and posts while changing over", ways: POLLING, times: 10, act: mixed },
        Probe { name: "an upgrade cut off right behind its end", ways: POLLING, times: 10, act: cut_off },
        Probe { name: "100 pings while probing", ways: POLLING, times: 5, act: pings },
    ],
};

#[test]
fn an_upgrade_that_is_played_with_costs_its_session_nothing() {
    GROUP.run();
}

/// Opens the WebSocket of an upgrade, as soon as the daemon has noticed that the last one is gone.
fn open(daemon: &Daemon, client: &Client) -> WebSocket {
    let target = client.polling_target().replace("transport=polling", "transport=websocket");
    let began = std::time::Instant::now();
    loop {
        match WebSocket::try_open(daemon.address, &target) {
            Ok(socket) => return socket,
            Err(status) => assert!(began.elapsed() < DEADLINE, "{status}"),
        }
    }
}

/// Asserts that the session polls on, and can still upgrade.
fn assert_as_it_was(daemon: &Daemon, mut client: Client) {
    client.assert_silence();
    let mut socket = open(daemon, &client);
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    socket.send("5");
    client.switch(socket);
    client.assert_silence();
}

fn out_of_turn(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    for packets in [
        &["5"][..],
        &["2"],
        &["2probe", "2probe"],
        &["2probe", "42[\"subscribe\",\"r\"]"],
        &["3probe"],
        &["40"],
        &["42[\"subscribe\",\"r\"]"],
        &["1"],
        &["", "2probe", "5"],
        &["2Probe"],
        &["2probe\n"],
    ] {
        let mut socket = open(daemon, &client);
        for packet in packets {
            socket.send(packet);
        }
        assert_eq!(super::ending(&mut socket), Incoming::End, "{packets:?}");
    }
    let mut socket = open(daemon, &client);
    socket.send_binary(b"2probe");
    assert_eq!(super::ending(&mut socket), Incoming::End);
    assert_as_it_was(daemon, client);
}

fn broken_frames(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let masked = |first: u8, payload: &[u8]| {
        let mut out = BytesMut::new();
        frame::put_masked(&mut out, frame::TEXT, payload);
        out[0] = first;
        out.to_vec()
    };
    let mut unmasked = BytesMut::new();
    frame::put(&mut unmasked, frame::TEXT, b"2probe");
    let enormous = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    for bytes in [
        unmasked.to_vec(),
        enormous,
        masked(0x81, &[b'2'; 126]),
        masked(0x01, b"2probe"),
        masked(0x80, b"2probe"),
        masked(0x83, b"2probe"),
        masked(0xc1, b"2probe"),
        masked(0xa1, b"2probe"),
        masked(0x09, b"ping"),
        masked(0x89, &[b'p'; 126]),
        masked(0x88, b""),
    ] {
        let mut socket = open(daemon, &client);
        socket.send_raw(&bytes);
        assert_eq!(super::ending(&mut socket), Incoming::End, "{:x?}", &bytes[..bytes.len().min(16)]);
    }
    assert_as_it_was(daemon, client);
}

fn two_at_once(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let target = client.polling_target().replace("transport=polling", "transport=websocket");
    let first = open(daemon, &client);
    for _ in 0..5 {
        assert!(WebSocket::try_open(daemon.address, &target).is_err_and(|status| status.contains(" 400 ")));
    }
    drop(first);
    assert_as_it_was(daemon, client);
}

fn abandoned(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    for n in 0..50 {
        let mut socket = open(daemon, &client);
        if n % 2 == 0 {
            socket.send("2probe");
        }
        if n % 4 == 0 {
            assert_eq!(socket.text(), "3probe");
        }
    }
    assert_as_it_was(daemon, client);
}

fn hanging(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let mut socket = open(daemon, &client);
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    // After the upgrade's timeout it is over.
    assert_eq!(super::ending(&mut socket), Incoming::End);
    assert_as_it_was(daemon, client);
}

fn mixed(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let target = client.polling_target();
    let mut socket = open(daemon, &client);
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    client.assert_silence();
    socket.send("5");
    client.switch(socket);
    client.assert_silence();
    // Whoever polls or posts now is too late.
    for method in ["GET", "POST"] {
        assert_eq!(http::request(daemon.address, method, &target, &[], b"").status, 400);
    }
    client.assert_silence();
}

fn cut_off(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let mut socket = open(daemon, &client);
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    socket.send("5");
    drop(socket);
    // It has changed over, so that the end of the WebSocket is the end of the session.
    let target = client.polling_target();
    let began = std::time::Instant::now();
    while http::get(daemon.address, &target).status != 400 {
        assert!(began.elapsed() < DEADLINE);
    }
}

fn pings(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let mut socket = open(daemon, &client);
    for _ in 0..100 {
        socket.send_frame(frame::PING, b"before");
    }
    for _ in 0..100 {
        assert_eq!(socket.next(), Incoming::Pong(b"before".to_vec()));
    }
    drop(socket);
    leave(daemon, client);
}
