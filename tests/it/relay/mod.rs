//! Several nodes over a relay: what clients are promised holds across them, whatever becomes of the relay.

mod outages;
mod servers;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Nodes;
use crate::support::Redis;
use crate::support::Way;

const DROPPED_IN: &str = "dropped_total{direction=\"in\",reason=";

#[test]
fn what_is_published_on_a_node_reaches_the_room_on_all_as_it_was_sent() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &[]);
    let rooms = [r#""news""#, "7", r#""7""#, r#"" * > . {a} \u00e9\n%""#];
    let messages = [
        r#"{"b":1.0,"a":12345678901234567890,"a":[null,-0,1e400]}"#,
        r#""\u00e9 é \ud83d\ude00 😀 / \/""#,
        " [ 1 , 2 ] ",
        "0",
    ];
    let mut cases = 0;
    for ways in [&Way::ALL[..3], &Way::ALL[3..]] {
        let mut clients = nodes.members(ways, &rooms);
        for (number, room) in rooms.iter().enumerate() {
            for (sender, message) in messages.iter().enumerate() {
                let sender = sender % clients.len();
                assert_eq!(clients[sender].ask(&format!(r#"["publish",{room},{message}]"#)), "[]");
                for client in &mut clients {
                    client.expect(&format!(r#"["data",{room},{}]"#, message.trim()));
                }
                cases += 1;
            }
            let binary = format!(
                r#"["publish",{room},{{"a":{{"_placeholder":true,"num":0}},"b":[{{"_placeholder":true,"num":1}}]}}]"#
            );
            assert_eq!(clients[number % 3].ask_binary(&binary, &[b"\x00\xff", b""]), "[]");
            let data = binary.replacen("publish", "data", 1);
            for client in &mut clients {
                client.expect_binary(&data, &[b"\x00\xff", b""]);
            }
        }
        clients.iter_mut().for_each(Client::assert_silence);
    }
    assert_eq!(cases, 2 * rooms.len() * messages.len());
    assert!(nodes.dropped("in") + nodes.dropped("out") < 0.5);
}

#[test]
fn a_broadcast_reaches_everyone_on_all_nodes_but_who_has_sent_it() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &[]);
    let mut clients: Vec<_> = Way::ALL.chunks(3).flat_map(|ways| nodes.clients(ways)).collect();
    for sender in 0..clients.len() {
        clients[sender].emit(&format!(r#"["broadcast",{sender}]"#));
        for (number, client) in clients.iter_mut().enumerate() {
            if number != sender {
                client.expect(&format!(r#"["broadcast",{sender}]"#));
            }
        }
    }
    clients.iter_mut().for_each(Client::assert_silence);
}

#[test]
fn messages_of_one_publisher_reach_every_node_in_order_and_once() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &[]);
    // Over one server this holds for all rooms together.
    assert_all_arrive_in_order(&nodes, &[r#""a""#, r#""b""#]);
}

/// Has a client of each of three nodes publish to these rooms in turns, as fast as it can.
fn assert_all_arrive_in_order(nodes: &Nodes, rooms: &[&str]) {
    const MESSAGES: usize = 3000;
    let mut members = nodes.members(&[Way::WebSocket4], rooms);
    let mut publishers = nodes.clients(&[Way::WebSocket4]);
    for number in 0..MESSAGES {
        for (node, publisher) in publishers.iter_mut().enumerate() {
            let room = rooms[number % rooms.len()];
            publisher.emit(&format!(r#"["publish",{room},[{node},{number}]]"#));
        }
    }
    for member in &mut members {
        let mut next = [0; 3];
        for _ in 0..MESSAGES * 3 {
            let event = member.event();
            let numbers = event.split('[').nth(2).unwrap().trim_end_matches(']');
            let (node, number) = numbers.split_once(',').unwrap();
            let next = &mut next[node.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next, "{event}");
            *next += 1;
        }
        member.assert_silence();
    }
}

#[test]
fn what_nobody_else_wants_to_hear_costs_the_other_nodes_nothing() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start(&redis.setting(), &[]);
    let mut clients = nodes.clients(&[Way::WebSocket4]);
    clients[0].subscribe("1");
    clients[1].subscribe("2");
    for (node, rooms) in nodes.0.iter().zip([1.0, 1.0, 0.0]) {
        node.await_metric("humble_broker_relay_subscriptions", rooms);
    }
    for _ in 0..100 {
        assert_eq!(clients[0].ask(r#"["publish",1,"mine"]"#), "[]");
    }
    assert_eq!(clients[0].ask(r#"["publish",2,"for the other"]"#), "[]");
    clients[1].expect(r#"["data",2,"for the other"]"#);
    assert!((nodes.sum("received_total") - 1.0).abs() < 0.5, "{}", nodes.sum("received_total"));

    // Some seconds after the last has left, nothing is heard of it any more.
    clients[1].ask(r#"["unsubscribe",2]"#);
    nodes.0[1].await_metric("humble_broker_relay_subscriptions", 0.0);
    clients[0].ask(r#"["publish",2,"for nobody"]"#);
    nodes.0[0].await_metric("humble_broker_relay_published_total", 102.0);
    clients[1].subscribe("2");
    nodes.0[1].await_metric("humble_broker_relay_subscriptions", 1.0);
    clients[0].ask(r#"["publish",2,"again"]"#);
    clients[1].expect(r#"["data",2,"again"]"#);
    assert!((nodes.sum("received_total") - 2.0).abs() < 0.5);
}

#[test]
fn nodes_of_different_parsers_do_not_hear_each_other_and_count_it() {
    let redis = Redis::start(&[]);
    let msgpack = ["--set", "socketio.parser='msgpack'"];
    let nodes = Nodes::start_each(&redis.setting(), [&[][..], &[], &msgpack]);
    let mut clients: Vec<_> =
        nodes.0[..2].iter().map(|node| Client::connect(node.address, Way::WebSocket4)).collect();
    for client in &mut clients {
        client.subscribe("1");
    }
    nodes.0[1].await_metric("humble_broker_relay_subscriptions", 1.0);
    clients[0].emit(r#"["broadcast","to all"]"#);
    clients[1].expect(r#"["broadcast","to all"]"#);
    nodes.0[2].await_metric(&format!("humble_broker_relay_{DROPPED_IN}\"other_parser\"}}"), 1.0);
}

/// Where the sequence number of an envelope ends.
const SEQUENCE_END: usize = 30;

/// An envelope as another node might have written it, of `version`.
pub fn envelope(version: u8, sequence: u8, room: &str, text: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    [
        b"SHBR".to_vec(),
        vec![version, 1, 1],
        vec![9; 16],
        vec![0, 0, 0, 0, 0, 0, 0, sequence],
        length(b"/"),
        b"/".to_vec(),
        vec![1],
        length(room.as_bytes()),
        room.as_bytes().to_vec(),
        length(text),
        text.to_vec(),
        vec![0, 0, 0, 0],
    ]
    .concat()
}

#[test]
fn nothing_from_the_relay_is_trusted_more_than_a_client() {
    let redis = Redis::start(&[]);
    let nodes = Nodes::start_each(&redis.setting(), [&["--set", "limits.max_payload='10 KiB'"][..]]);
    let mut member = nodes.members(&[Way::WebSocket4], &[r#""a""#]).remove(0);
    let good = |sequence| envelope(1, sequence, "a", br#"["data","a","good"]"#);
    let nested = [&br#"["data","a","#[..], &[b'['; 500], &[b']'; 500], b"]"].concat();
    let large = format!(r#"["data","a","{}"]"#, "x".repeat(20_000)).into_bytes();
    // Nothing in the text says where it belongs.
    let with_attachment = [&envelope(1, 0, "a", br#"["data","a",1]"#)[..], b"\0\0\0\x01x"].concat();
    let count = with_attachment.len() - 6;
    let with_attachment = [&with_attachment[..count], b"\x01", &with_attachment[count + 1..]].concat();
    let mut sequence = 0_u8;
    for (mut payload, reason) in [
        (b"garbage".to_vec(), "malformed"),
        (Vec::new(), "malformed"),
        (good(1)[..40].to_vec(), "malformed"),
        (envelope(2, 1, "a", br#"["data","a","of another version"]"#), "unknown_version"),
        (envelope(1, 0, "a", b"not JSON"), "malformed"),
        (envelope(1, 0, "a", br#"["data","another room",1]"#), "malformed"),
        (envelope(1, 0, "a", br#"["data","a"]"#), "malformed"),
        (envelope(1, 0, "a", br#"["data","a",1,2]"#), "malformed"),
        (envelope(1, 0, "a", br#"["other","a",1]"#), "malformed"),
        (envelope(1, 0, "a", br#"["broadcast",1]"#), "malformed"),
        (envelope(1, 0, "a", br#" ["data","a",1]"#), "malformed"),
        // Who may publish in one room may not in all.
        (envelope(1, 0, "another room", br#"["data","another room",1]"#), "malformed"),
        (with_attachment, "malformed"),
        (envelope(1, 0, "a", &nested), "malformed"),
        (envelope(1, 0, "a", &large), "too_large"),
        (envelope(1, 0, "a", &vec![b' '; 30_000]), "too_large"),
    ] {
        let name = format!("humble_broker_relay_{DROPPED_IN}\"{reason}\"}}");
        let before = nodes.0[0].metric(&name);
        sequence += 2;
        if let Some(last) = payload.get_mut(SEQUENCE_END).filter(|_| reason != "unknown_version") {
            *last = sequence;
        }
        assert_eq!(redis.ask(&[b"PUBLISH", b"humble-broker:text:a", &payload]), ":1");
        nodes.0[0].await_change(&name, before);
        redis.ask(&[b"PUBLISH", b"humble-broker:text:a", &good(sequence + 1)]);
        member.expect(r#"["data","a","good"]"#);
    }
    assert!(sequence > 20);
    // What was heard already, and what comes behind it.
    for (sequence, is_next) in [(sequence + 1, false), (3, false), (sequence + 2, true)] {
        redis.ask(&[b"PUBLISH", b"humble-broker:text:a", &good(sequence)]);
        if is_next {
            member.expect(r#"["data","a","good"]"#);
        }
    }
    nodes.0[0].await_metric(&format!("humble_broker_relay_{DROPPED_IN}\"stale\"}}"), 2.0);
    member.assert_silence();
}

#[test]
fn many_rooms_are_listened_to_again_at_a_pace_and_local_clients_do_not_wait() {
    const ROOMS: u32 = 20_000;
    let mut redis = Redis::start(&[]);
    let nodes = Nodes::start_each(&redis.setting(), [&["--set", "limits.rooms_per_client=30000"][..], &[]]);
    let mut clients = nodes.clients(&[Way::WebSocket4]);
    for room in 0..ROOMS {
        clients[0].emit(&format!(r#"["subscribe",{room}]"#));
    }
    clients[0].subscribe("0");
    nodes.0[0].await_metric("humble_broker_relay_subscriptions", ROOMS.into());
    redis.kill();
    nodes.0[0].await_metric("humble_broker_relay_up", 0.0);
    redis.restart();
    while nodes.0[0].metric("humble_broker_relay_subscriptions") < ROOMS.into() {
        let began = std::time::Instant::now();
        clients[0].emit(r#"["publish",1,"here"]"#);
        clients[0].expect(r#"["data",1,"here"]"#);
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }
    nodes.await_connected();
    for room in [0, ROOMS / 2, ROOMS - 1] {
        assert_eq!(clients[1].ask(&format!(r#"["publish",{room},"there"]"#)), "[]");
        clients[0].expect(&format!(r#"["data",{room},"there"]"#));
    }
}

#[test]
fn a_node_without_a_relay_says_nothing_of_one() {
    let daemon = Daemon::start(&[]);
    let text = crate::support::http::get(daemon.admin, "/metrics").text();
    assert!(text.contains("humble_broker_rooms") && !text.contains("humble_broker_relay"), "{text}");
}
