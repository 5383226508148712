//! Floods: much of what is allowed, and clients that do not listen while much is sent to them.

use bytes::BytesMut;
use humble_broker::protocol::Encoding;
use humble_broker::wire::frame;

use super::Group;
use super::Probe;
use super::WEBSOCKET;
use super::leave;
use super::post;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &["limits.send_queue=500 kB"],
    probes: &[
        Probe { name: "100,000 subscribe and unsubscribe", ways: TWO, times: 1, act: in_and_out_of_rooms },
        Probe { name: "more rooms than there may be", ways: ALL, times: 2, act: too_many_rooms },
        Probe { name: "a flood of binary messages", ways: TWO, times: 1, act: binary_flood },
        Probe {
            name: "a flood of binary that nobody announced",
            ways: WEBSOCKET,
            times: 10,
            act: stray_flood,
        },
        Probe { name: "10,000 pings", ways: WEBSOCKET, times: 1, act: ping_flood },
        Probe { name: "10,000 pongs", ways: WEBSOCKET, times: 1, act: pong_flood },
        Probe { name: "clients that never read", ways: ALL, times: 3, act: never_reads },
        Probe {
            name: "clients that never read their acknowledgements",
            ways: &[Way::WebSocket4],
            times: 1,
            act: deaf,
        },
        Probe { name: "200 clients that come and go", ways: ALL, times: 50, act: comes_and_goes },
        Probe { name: "a broadcast to each other, over and over", ways: TWO, times: 1, act: broadcasts },
        Probe { name: "refused events in a loop", ways: TWO, times: 1, act: refused },
    ],
};

const ALL: &[Way] = &[Way::WebSocket3, Way::WebSocket4, Way::Polling3, Way::Polling4];
const TWO: &[Way] = &[Way::WebSocket4, Way::Polling4];

#[test]
fn a_flood_drowns_nobody_but_who_sends_it() {
    GROUP.run();
}

/// Sends these events, many at once, whether anybody listens to what comes back or not.
fn pour(daemon: &Daemon, client: &mut Client, events: impl Iterator<Item = String>) {
    let events: Vec<_> = events.collect();
    for (part, events) in events.chunks(2_000).enumerate() {
        if client.way() == Way::Polling4 {
            assert_eq!(post(daemon, client, &events.join("\x1e")), 200);
            // The heartbeat goes on, though not so often that it would be a flood of its own.
            if part % 5 == 4 {
                assert_eq!(post(daemon, client, "3"), 200);
            }
        } else {
            let mut bytes = BytesMut::new();
            // The heartbeat goes on.
            frame::put_masked(&mut bytes, frame::TEXT, b"3");
            for event in events {
                frame::put_masked(&mut bytes, frame::TEXT, event.as_bytes());
            }
            client.socket().send_raw(&bytes);
        }
    }
}

fn in_and_out_of_rooms(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let events = (0..50_000).flat_map(|n| {
        let room = n % 5_000;
        [format!("42[\"subscribe\",{room}]"), format!("42[\"unsubscribe\",{room}]")]
    });
    pour(daemon, &mut client, events);
    client.assert_silence();
    leave(daemon, client);
}

fn too_many_rooms(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let long = "r".repeat(150);
    super::say_all(daemon, &mut client, (0..1_000).map(|n| format!("42[\"subscribe\",\"{n}-{long}\"]")));
    for n in 0..20 {
        let answer = client.ask(&format!("[\"subscribe\",\"one more {n}\"]"));
        assert!(answer.starts_with("[{\"error\":\"too_many_rooms\""), "{answer}");
    }
    leave(daemon, client);
}

fn binary_flood(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let attachment = [0xff; 10_000];
    let times = if way == Way::Polling4 { 100 } else { 1_000 };
    for _ in 0..times {
        client.emit_binary("[\"publish\",\"nobody\",{\"_placeholder\":true,\"num\":0}]", &[&attachment]);
    }
    client.assert_silence();
    leave(daemon, client);
}

fn stray_flood(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    client.assert_silence();
    let mut bytes = BytesMut::new();
    for _ in 0..100 {
        frame::put_masked(&mut bytes, frame::BINARY, &[4; 10_000]);
    }
    client.socket().send_raw(&bytes);
    super::ending(client.socket());
}

fn ping_flood(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let mut pongs = 0;
    for _ in 0..10 {
        let mut bytes = BytesMut::new();
        (0..1_000).for_each(|_| frame::put_masked(&mut bytes, frame::PING, &[b'p'; 125]));
        client.socket().send_raw(&bytes);
        // A server may answer the last of several pings only (RFC 6455, section 5.5.3).
        client.socket().send_frame(frame::PING, b"last");
        loop {
            match client.socket().next() {
                Incoming::Pong(payload) if payload == b"last" => break,
                Incoming::Pong(_) => pongs += 1,
                Incoming::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(pongs > 0);
    // Of one that does not listen, what it leaves unread is not kept for it for ever.
    let mut deaf = Client::connect(daemon.address, way);
    let mut bytes = BytesMut::new();
    (0..10_000).for_each(|_| frame::put_masked(&mut bytes, frame::PING, &[b'p'; 125]));
    deaf.socket().send_raw(&bytes);
}

fn pong_flood(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let mut bytes = BytesMut::new();
    (0..10_000).for_each(|_| frame::put_masked(&mut bytes, frame::PONG, b"nobody asked"));
    client.socket().send_raw(&bytes);
    client.assert_silence();
}

fn never_reads(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let room = format!("\"never read {way:?}\"");
    client.subscribe(&room);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let event = format!("[\"publish\",{room},\"{}\"]", "x".repeat(150_000));
    // Until it is dropped: sockets take some megabytes before a queue begins to fill.
    let dropped = "humble_broker_messages_dropped_total{reason=\"slow_consumer\"}";
    let before = daemon.metric(dropped);
    let mut sent = 0;
    while daemon.metric(dropped) - before < 0.5 {
        assert_eq!(publisher.ask(&event), "[]");
        sent += 1;
        assert!(sent < 1_000, "nothing fills up");
    }
    if matches!(way, Way::Polling3 | Way::Polling4) {
        assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
    }
}

fn deaf(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    // Asks for answers and reads none: its own queue fills up, and it is dropped.
    let long = "n".repeat(50);
    let slow = "humble_broker_disconnections_total{reason=\"slow_consumer\"}";
    let before = daemon.metric(slow);
    let mut asked = 0_u32;
    while daemon.metric(slow) - before < 0.5 {
        let mut bytes = BytesMut::new();
        for _ in 0..5_000 {
            asked += 1;
            frame::put_masked(&mut bytes, frame::TEXT, format!("42{asked}[\"{long}\"]").as_bytes());
        }
        client.socket().send_raw(&bytes);
        assert!(asked < 1_000_000, "nothing fills up");
    }
    drop(client);
}

fn comes_and_goes(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    client.subscribe("\"fleeting\"");
    leave(daemon, client);
}

fn broadcasts(daemon: &Daemon, way: Way) {
    let mut listeners: Vec<_> = (0..10).map(|_| Client::connect(daemon.address, Way::WebSocket4)).collect();
    let mut client = Client::connect(daemon.address, way);
    for n in 0..20 {
        pour(daemon, &mut client, (0..10).map(|m| format!("42[\"broadcast\",{}]", n * 10 + m)));
        for listener in &mut listeners {
            (0..10).for_each(|m| listener.expect(&format!("[\"broadcast\",{}]", n * 10 + m)));
        }
    }
    leave(daemon, client);
}

fn refused(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    pour(daemon, &mut client, (0..50_000).map(|n| format!("42[\"nonsense {n}\",null]")));
    client.assert_silence();
    leave(daemon, client);
}
