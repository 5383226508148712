//! Engine.IO and Socket.IO packets that are out of turn, out of bounds, or out of their senses.

use humble_broker::protocol::Encoding;
use humble_broker::protocol::Generation;

use super::Group;
use super::Probe;
use super::assert_ended;
use super::leave;
use super::say;
use super::say_all;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;

pub(super) const GROUP: Group = Group {
    encoding: Encoding::Json,
    settings: &[],
    probes: &[
        Probe { name: "events before CONNECT", ways: V4, times: 10, act: event_before_connect },
        Probe { name: "CONNECT a thousand times", ways: ALL, times: 1, act: duplicate_connect },
        Probe {
            name: "CONNECT to a thousand unknown namespaces",
            ways: ALL,
            times: 1,
            act: unknown_namespaces,
        },
        Probe { name: "DISCONNECT and CONNECT in a loop", ways: V4, times: 1, act: in_and_out },
        Probe {
            name: "10,000 acknowledgements nobody asked for",
            ways: ALL,
            times: 1,
            act: acknowledgements,
        },
        Probe { name: "pings and pongs out of turn", ways: ALL, times: 2, act: heartbeats },
        Probe { name: "empty packets", ways: ALL, times: 10, act: empty },
        Probe { name: "unknown packet types", ways: ALL, times: 2, act: unknown_types },
        Probe { name: "Socket.IO packets cut short", ways: ALL, times: 1, act: cut_short },
        Probe { name: "acknowledgement ids beyond all numbers", ways: ALL, times: 5, act: huge_ids },
        Probe { name: "event names that are none", ways: ALL, times: 2, act: odd_names },
        Probe { name: "100,000 brackets", ways: ALL, times: 2, act: brackets },
        Probe { name: "attachments that never come", ways: ALL, times: 10, act: attachments_missing },
        Probe { name: "attachments nobody announced", ways: ALL, times: 10, act: attachments_stray },
        Probe { name: "too many attachments", ways: ALL, times: 5, act: attachments_too_many },
        Probe {
            name: "a number of attachments that overflows",
            ways: ALL,
            times: 5,
            act: attachments_overflow,
        },
        Probe { name: "placeholder games", ways: ALL, times: 1, act: placeholders },
        Probe { name: "rooms that are none", ways: ALL, times: 1, act: odd_rooms },
    ],
};

const ALL: &[Way] = &[Way::WebSocket3, Way::WebSocket4, Way::Polling3, Way::Polling4, Way::Upgrade4];
/// Those in which a client asks for the namespace.
const V4: &[Way] = &[Way::WebSocket4, Way::Polling4];

#[test]
fn packets_that_make_no_sense_harm_their_sender_only() {
    GROUP.run();
}

/// Asserts that who polls has been closed, for having the library answer far more than it polls for;
/// says whether that is so. Who uses a WebSocket and reads is served.
fn is_too_talkative(daemon: &Daemon, client: &mut Client) -> bool {
    let polls = matches!(client.way(), Way::Polling3 | Way::Polling4);
    if polls {
        assert_ended(daemon, client);
    }
    polls
}

/// Asserts that these packets end the session of who sends one.
fn assert_each_ends(daemon: &Daemon, way: Way, packets: &[&str]) {
    for packet in packets {
        let mut client = Client::connect(daemon.address, way);
        say(daemon, &mut client, packet);
        assert_ended(daemon, &mut client);
    }
}

/// Asserts that these events are refused with `code`, and that the client stays.
fn assert_each_refused(daemon: &Daemon, way: Way, code: &str, events: &[&str]) {
    let mut client = Client::connect(daemon.address, way);
    for event in events {
        let answer = client.ask(event);
        assert!(answer.starts_with(&format!("[{{\"error\":\"{code}\"")), "{event:.100}: {answer}");
    }
    client.assert_silence();
    leave(daemon, client);
}

fn event_before_connect(daemon: &Daemon, way: Way) {
    for packet in ["42[\"publish\",\"nobody\",\"early\"]", "41", "430[]", "451-[\"broadcast\"]"] {
        let mut client = Client::open(daemon.address, way);
        say(daemon, &mut client, packet);
        if packet.starts_with("45") {
            leave(daemon, client);
        } else {
            assert_ended(daemon, &mut client);
        }
    }
}

fn duplicate_connect(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    client.subscribe("\"kept\"");
    say_all(daemon, &mut client, (0..1_000).map(|_| "40".into()));
    if is_too_talkative(daemon, &mut client) {
        return;
    }
    // The rooms of the first are still there.
    assert_eq!(client.ask("[\"publish\",\"kept\",1]"), "[]");
    client.expect("[\"data\",\"kept\",1]");
    leave(daemon, client);
}

fn unknown_namespaces(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for part in 0..10 {
        say_all(daemon, &mut client, (0..100).map(|n| format!("40/namespace-{part}-{n},")));
        if is_too_talkative(daemon, &mut client) {
            return;
        }
        for n in 0..100 {
            let refusal = client.text();
            assert!(refusal.starts_with(&format!("44/namespace-{part}-{n},")), "{refusal}");
        }
    }
    client.assert_silence();
    leave(daemon, client);
}

fn in_and_out(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for _ in 0..200 {
        client.subscribe("\"in and out\"");
        say(daemon, &mut client, "41");
        // The library ignores a CONNECT that comes before its own work on the last one is over, so
        // it may take more than one; how many times it was asked shows in the refusals.
        let mut connected = false;
        while !connected {
            say(daemon, &mut client, "40");
            say(daemon, &mut client, "40/nowhere,");
            loop {
                let text = client.text();
                connected |= text.starts_with("40{\"sid\":\"");
                if text.starts_with("44/nowhere") {
                    break;
                }
            }
        }
    }
    leave(daemon, client);
}

fn acknowledgements(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    say_all(daemon, &mut client, (0..1_000).map(|n| format!("43{n}[\"nobody asked\"]")));
    if is_too_talkative(daemon, &mut client) {
        return;
    }
    say_all(daemon, &mut client, (1_000..10_000).map(|n| format!("43{n}[\"nobody asked\"]")));
    client.assert_silence();
    leave(daemon, client);
}

fn heartbeats(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    // Pongs without a ping, pings from the wrong side, and either with something behind it.
    let pings = match way.generation() {
        Generation::V4 => ["3", "3x", "2", "2x"],
        Generation::V3 => ["3", "3x", "3", "3x"],
    };
    say_all(daemon, &mut client, (0..1_000).map(|n| pings[n % 2].into()));
    if !is_too_talkative(daemon, &mut client) {
        client.assert_silence();
    }
    for ping in pings {
        let mut client = Client::connect(daemon.address, way);
        say(daemon, &mut client, ping);
        leave(daemon, client);
    }
}

fn empty(daemon: &Daemon, way: Way) {
    assert_each_ends(daemon, way, &["4"]);
    // An empty body is no packet at all, and the library takes `0:` for none either.
    if matches!(way, Way::Polling3 | Way::Polling4) {
        let mut client = Client::connect(daemon.address, way);
        say(daemon, &mut client, "");
        client.assert_silence();
        leave(daemon, client);
    } else {
        assert_each_ends(daemon, way, &[""]);
    }
}

fn unknown_types(daemon: &Daemon, way: Way) {
    assert_each_ends(daemon, way, &["0", "7", "8", "9", "x", "é", "\0", "4x", "47", "48", "49", "44{}"]);
}

fn cut_short(daemon: &Daemon, way: Way) {
    let events =
        ["42", "42[", "42[\"subscribe", "42[\"subscribe\"", "42[\"subscribe\",\"r\"", "42[\"subscribe\",]"];
    assert_each_ends(daemon, way, &events);
    assert_each_ends(daemon, way, &["45", "451", "45-", "43", "43[]", "46", "461"]);
}

fn huge_ids(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    // The largest is answered; one that is no number of 64 bits is none, and so is not.
    say(daemon, &mut client, "429223372036854775807[\"subscribe\",\"r\"]");
    assert_eq!(client.text(), "439223372036854775807[]");
    say(daemon, &mut client, "429223372036854775808[\"subscribe\",\"r\"]");
    say(daemon, &mut client, &format!("42{}[\"subscribe\",\"r\"]", "9".repeat(10_000)));
    client.assert_silence();
    leave(daemon, client);
}

fn odd_names(daemon: &Daemon, way: Way) {
    let long = format!("[\"{}\"]", "n".repeat(100_000));
    let names =
        ["[\"connect\"]", "[\"disconnect\",1]", "[\"\"]", "[\"Publish\",\"r\",1]", "[\"é😀\"]", &long];
    assert_each_refused(daemon, way, "unknown_event", &names);
    // What is no plain string as a name breaks the protocol.
    let none = [
        "42[]",
        "42[1]",
        "42[null]",
        "42[[\"publish\"]]",
        "42{}",
        "42\"publish\"",
        "42[\"p\\u0075blish\",1,2]",
    ];
    assert_each_ends(daemon, way, &none);
}

fn brackets(daemon: &Daemon, way: Way) {
    let (open, shut) = ("[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(25_000), "}".repeat(25_000));
    let half = format!("{}{}", &open[..90_000], &shut[..90_000]);
    for value in [half, objects] {
        let events = [format!("[\"broadcast\",{value}]"), format!("[\"subscribe\",{value}]")];
        assert_each_refused(daemon, way, "malformed", &events.each_ref().map(String::as_str));
    }
    // What does not even balance is no event.
    let unbalanced = ["42".to_owned(), "42[\"broadcast\",".to_owned(), "42[\"subscribe\",".to_owned()];
    for start in unbalanced {
        assert_each_ends(daemon, way, &[&format!("{start}{open}")]);
    }
    // As what comes with CONNECT, or with an acknowledgement, it is not looked at.
    let mut client = Client::connect(daemon.address, way);
    say(daemon, &mut client, &format!("40{open}"));
    say(daemon, &mut client, &format!("431{open}"));
    client.assert_silence();
    leave(daemon, client);
}

fn attachments_missing(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    say(daemon, &mut client, "452-[\"publish\",\"nobody\",{\"_placeholder\":true,\"num\":0}]");
    client.send_binary(&vec![7; 50_000]);
    // The second one does not come. Some leave, some go on as if it had.
    if way.generation() == Generation::V4 {
        say(daemon, &mut client, "42[\"subscribe\",\"r\"]");
        assert_ended(daemon, &mut client);
    } else {
        leave(daemon, client);
    }
}

fn attachments_stray(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for _ in 0..3 {
        match way {
            Way::Polling3 => drop(super::post(daemon, &client, "10:b4AQIDBA==")),
            Way::Polling4 => drop(super::post(daemon, &client, "bAQIDBA==")),
            _ => client.send_binary(b"stray"),
        }
    }
    assert_ended(daemon, &mut client);
}

fn attachments_too_many(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    let holders: Vec<_> = (0..11).map(|n| format!("{{\"_placeholder\":true,\"num\":{n}}}")).collect();
    let event = format!("[\"publish\",\"nobody\",[{}]]", holders.join(","));
    let answer = client.ask_binary(&event, &[&b"x"[..]; 11]);
    assert!(answer.starts_with("[{\"error\":\"malformed\""), "{answer}");
    leave(daemon, client);
    assert_each_ends(daemon, way, &["45100000-[\"publish\",\"nobody\",1]"]);
}

fn attachments_overflow(daemon: &Daemon, way: Way) {
    let counts = ["4599999999999999999999-", "4518446744073709551615-", "45-1-", "45+1-", "450x1-", "451.5-"];
    let packets = counts.map(|count| format!("{count}[\"publish\",\"nobody\",1]"));
    assert_each_ends(daemon, way, &packets.each_ref().map(String::as_str));
}

fn placeholders(daemon: &Daemon, way: Way) {
    let mut client = Client::connect(daemon.address, way);
    for holder in [
        "{\"_placeholder\":true,\"num\":1}",
        "{\"_placeholder\":true,\"num\":-1}",
        "{\"_placeholder\":true,\"num\":0.5}",
        "{\"_placeholder\":true,\"num\":1e0}",
        "{\"_placeholder\":true,\"num\":99999999999999999999}",
        "{\"_placeholder\":true,\"num\":\"0\"}",
        "{\"_placeholder\":true,\"num\":null}",
        "{\"_placeholder\":true}",
        "{\"_placeholder\":true,\"num\":{\"_placeholder\":true,\"num\":0}}",
        "{\"_placeholder\":true,\"num\":\"constructor\"}",
        "{\"num\":0}",
        "1",
    ] {
        let answer = client.ask_binary(&format!("[\"publish\",\"nobody\",{holder}]"), &[b"x"]);
        assert!(answer.starts_with("[{\"error\":\"malformed\""), "{holder}: {answer}");
    }
    // Without attachments it is data like any other; as a room it is none.
    assert_eq!(client.ask("[\"publish\",\"nobody\",{\"_placeholder\":true,\"num\":0}]"), "[]");
    let room = client.ask_binary("[\"publish\",{\"_placeholder\":true,\"num\":0},1]", &[b"x"]);
    assert!(room.starts_with("[{\"error\":\"invalid_room\""), "{room}");
    client.assert_silence();
    leave(daemon, client);
}

fn odd_rooms(daemon: &Daemon, way: Way) {
    let long = format!("[\"subscribe\",\"{}\"]", "r".repeat(1_025));
    let rooms = [
        "[\"subscribe\",\"\"]",
        "[\"subscribe\",null]",
        "[\"subscribe\",true]",
        "[\"subscribe\",1.5]",
        "[\"subscribe\",1e3]",
        "[\"subscribe\",9007199254740992]",
        "[\"subscribe\",[]]",
        "[\"subscribe\",{}]",
        "[\"subscribe\",\"\\ud800\"]",
        "[\"publish\",{\"toString\":1},1]",
        &long,
    ];
    assert_each_refused(daemon, way, "invalid_room", &rooms);
    // Names that mean something elsewhere are names.
    let mut client = Client::connect(daemon.address, way);
    for room in
        ["\"__proto__\"", "\"constructor\"", "\"../../etc/passwd\"", "\"a\\u0000b\"", "-0", "\"%s%n\""]
    {
        client.subscribe(room);
    }
    assert_eq!(http::get(daemon.admin, "/healthz").status, 200);
    leave(daemon, client);
}
