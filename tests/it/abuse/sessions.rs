//! Session ids that are guessed, stolen or over, and requests of one session that get in each other's way.

use std::net::SocketAddr;

use humble_broker::protocol::Encoding;

use super::ANY;
use super::Group;
use super::POLLING;
use super::Probe;
use super::WEBSOCKET;
use super::leave;
use super::post;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::WebSocket;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "ids that are guessed", ways: ANY, times: 1, act: guessed },
        Probe { name: "ids that are no ids", ways: ANY, times: 5, act: odd_ids },
        Probe { name: "the id of a session that is over", ways: POLLING, times: 10, act: reused },
        Probe {
            name: "the id of a WebSocket session, polled",
            ways: WEBSOCKET,
            times: 10,
            act: websocket_polled,
        },
        Probe {
            name: "an id taken to the other generation",
            ways: POLLING,
            times: 10,
            act: other_generation,
        },
        Probe { name: "two polls at once", ways: POLLING, times: 5, act: two_polls },
        Probe { name: "ten posts at once", ways: POLLING, times: 5, act: ten_posts },
        Probe { name: "handshakes and nothing else", ways: ALL, times: 20, act: only_handshakes },
        Probe { name: "sessions that nobody polls", ways: POLLING, times: 20, act: never_polled },
        Probe { name: "polls that are abandoned", ways: POLLING, times: 20, act: abandoned_polls },
        Probe { name: "queries that say everything twice", ways: ANY, times: 10, act: twice },
    ],
};

const ALL: &[Way] = &[Way::WebSocket3, Way::WebSocket4, Way::Polling3, Way::Polling4];
const UNKNOWN: &str = "{\"code\":1,\"message\":\"Session ID unknown\"}";

#[test]
fn a_session_belongs_to_who_has_its_id_and_to_one_request_at_a_time() {
    GROUP.run();
}

fn answer(address: SocketAddr, method: &str, target: &str) -> (u16, String) {
    let response = http::request(address, method, target, &[], b"");
    (response.status, response.text())
}

fn target(generation: u8, transport: &str, id: &str) -> String {
    format!("/socket.io/?EIO={generation}&transport={transport}&sid={id}")
}

fn guessed(daemon: &Daemon, _: Way) {
    // One letter beside a real one is as far off as any.
    let client = Client::connect(daemon.address, Way::Polling4);
    let id = client.id().to_owned();
    for at in 0..id.len() {
        let other = if id.as_bytes()[at] == b'A' { "B" } else { "A" };
        let guess = [&id[..at], other, &id[at + 1..]].concat();
        for generation in [3, 4] {
            for method in ["GET", "POST"] {
                let asked = answer(daemon.address, method, &target(generation, "polling", &guess));
                assert_eq!(asked, (400, UNKNOWN.to_owned()));
            }
            let refused = WebSocket::try_open(daemon.address, &target(generation, "websocket", &guess));
            assert!(refused.is_err_and(|status| status.contains(" 400 ")));
        }
    }
    leave(daemon, client);
}

fn odd_ids(daemon: &Daemon, _: Way) {
    let long = "A".repeat(7_000);
    for id in [
        "",
        "%00",
        "../../etc/passwd",
        "*",
        "undefined",
        "null",
        "0",
        "-1",
        "%27%20or%201=1",
        "%f0%9f",
        &long,
    ] {
        for method in ["GET", "POST"] {
            let asked = answer(daemon.address, method, &target(4, "polling", id));
            assert_eq!(asked, (400, UNKNOWN.to_owned()), "{id:.20}");
        }
        assert!(WebSocket::try_open(daemon.address, &target(4, "websocket", id)).is_err(), "{id:.20}");
    }
}

fn reused(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let known = client.polling_target();
    leave(daemon, client);
    for method in ["GET", "POST"] {
        assert_eq!(answer(daemon.address, method, &known).0, 400);
    }
    let upgrade = known.replace("transport=polling", "transport=websocket");
    assert!(WebSocket::try_open(daemon.address, &upgrade).is_err_and(|status| status.contains(" 400 ")));
}

fn websocket_polled(daemon: &Daemon, way: Way) {
    let (mut client, id) = if way == Way::Upgrade4 {
        let mut client = Client::connect(daemon.address, Way::Polling4);
        let id = client.id().to_owned();
        client.upgrade();
        (client, id)
    } else {
        let mut socket = WebSocket::open(daemon.address, &way.target("websocket"));
        let handshake = socket.text();
        let id = handshake.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut client = Client::connect(daemon.address, way);
        client.switch(socket);
        if way == Way::WebSocket4 {
            client.send("40");
        }
        assert!(client.text().starts_with("40"));
        (client, id)
    };
    client.assert_silence();
    for generation in [3, 4] {
        for method in ["GET", "POST"] {
            assert_eq!(answer(daemon.address, method, &target(generation, "polling", &id)).0, 400);
        }
        assert!(WebSocket::try_open(daemon.address, &target(generation, "websocket", &id)).is_err());
    }
    client.assert_silence();
}

fn other_generation(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let other = if way == Way::Polling3 { 4 } else { 3 };
    let refused = WebSocket::try_open(daemon.address, &target(other, "websocket", client.id()));
    assert!(refused.is_err_and(|status| status.contains(" 400 ")));
    client.assert_silence();
    leave(daemon, client);
}

fn two_polls(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let mut polls = [(); 2].map(|()| http::connect(daemon.address));
    for poll in &mut polls {
        http::send(poll, "GET", &client.polling_target(), &[], b"");
    }
    let statuses = polls.map(|mut poll| http::receive(&mut poll).status);
    assert!(statuses.contains(&400), "{statuses:?}");
    assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
}

fn ten_posts(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let packet = if way == Way::Polling3 { "19:42[\"unsubscribe\",0]" } else { "42[\"unsubscribe\",0]" };
    let mut posts: Vec<_> = (0..10).map(|_| http::connect(daemon.address)).collect();
    for post in &mut posts {
        http::send(post, "POST", &client.polling_target(), &[], packet.as_bytes());
    }
    for post in &mut posts {
        assert_eq!(http::receive(post).status, 200);
    }
    client.assert_silence();
    leave(daemon, client);
}

fn only_handshakes(daemon: &Daemon, way: Way) {
    drop(Client::open(daemon.address, way));
}

fn never_polled(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    // What is said before counts; the session goes when its heartbeat is missed.
    let packet =
        if way == Way::Polling3 { "21:42[\"subscribe\",\"gone\"]" } else { "42[\"subscribe\",\"gone\"]" };
    post(daemon, &client, packet);
}

fn abandoned_polls(daemon: &Daemon, way: Way) {
    let client = Client::connect(daemon.address, way);
    let mut poll = http::connect(daemon.address);
    http::send(&mut poll, "GET", &client.polling_target(), &[], b"");
}

fn twice(daemon: &Daemon, _: Way) {
    let (mut one, two) =
        (Client::connect(daemon.address, Way::Polling4), Client::connect(daemon.address, Way::Polling4));
    // Whichever counts, it is one of them, and a request that names both is answered once.
    let both = format!("{}&sid={}", one.polling_target(), two.id());
    assert_eq!(http::request(daemon.address, "POST", &both, &[], b"42[\"subscribe\",\"r\"]").status, 200);
    one.assert_silence();
    for query in
        ["EIO=4&EIO=3&transport=polling&transport=websocket", "EIO=4&transport=polling&transport=polling"]
    {
        let response = http::get(daemon.address, &format!("/socket.io/?{query}"));
        assert!([200, 400].contains(&response.status), "{query}");
    }
    leave(daemon, one);
    leave(daemon, two);
}
