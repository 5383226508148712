//! The four events, rooms and acknowledgements, row by row of docs/protocol.md.

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

#[test]
fn publish_reaches_everyone_in_the_room_the_publisher_included_if_it_is_in_it() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut member = Client::connect(daemon.address, way);
        let mut publisher = Client::connect(daemon.address, way);
        let mut outsider = Client::connect(daemon.address, way);
        member.subscribe(r#""news""#);
        assert_eq!(publisher.ask(r#"["publish","news",{"n":1}]"#), "[]");
        member.expect(r#"["data","news",{"n":1}]"#);
        publisher.assert_silence();
        outsider.assert_silence();

        publisher.subscribe(r#""news""#);
        publisher.emit(r#"["publish","news",2]"#);
        publisher.expect(r#"["data","news",2]"#);
        member.expect(r#"["data","news",2]"#);
        member.assert_silence();
    }
}

#[test]
fn broadcast_reaches_everyone_but_the_sender_whatever_their_rooms() {
    for way in Way::ALL {
        let daemon = Daemon::start(&[]);
        let mut sender = Client::connect(daemon.address, way);
        let mut others = Way::ALL.map(|way| Client::connect(daemon.address, way));
        others[0].subscribe(r#""somewhere""#);
        sender.subscribe(r#""somewhere""#);
        sender.emit(r#"["broadcast",["to","all"]]"#);
        for other in &mut others {
            other.expect(r#"["broadcast",["to","all"]]"#);
            other.assert_silence();
        }
        sender.assert_silence();
    }
}

#[test]
fn unsubscribe_ends_a_subscription() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("1");
        client.subscribe("2");
        assert_eq!(client.ask(r#"["unsubscribe",1]"#), "[]");
        client.emit(r#"["publish",1,"gone"]"#);
        client.emit(r#"["publish",2,"here"]"#);
        client.expect(r#"["data",2,"here"]"#);
        client.assert_silence();
    }
}

#[test]
fn membership_is_idempotent() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    assert_eq!(client.ask(r#"["unsubscribe","r"]"#), "[]", "leaving a room one is not in is a success");
    client.subscribe(r#""r""#);
    client.subscribe(r#""r""#);
    client.emit(r#"["publish","r",1]"#);
    client.expect(r#"["data","r",1]"#);
    client.assert_silence();
    client.emit(r#"["unsubscribe","r"]"#);
    client.emit(r#"["publish","r",2]"#);
    client.assert_silence();
    assert!(daemon.metric("humble_broker_subscriptions").abs() < 1e-9);
    assert!(daemon.metric("humble_broker_rooms").abs() < 1e-9);
}

#[test]
fn a_client_that_is_gone_is_in_no_room() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe(r#""r""#);
        client.send("41");
        daemon.await_metric("humble_broker_subscriptions", 0.0);
        daemon.await_metric("humble_broker_rooms", 0.0);
    }
}

#[test]
fn rooms_compare_by_decoded_value_and_kind() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    // Subscribed as, published as: the same room.
    for (subscribed, published) in [
        (r#""é""#, r#""\u00e9""#),
        (r#""\u00e9""#, r#""é""#),
        (r#""\ud83d\ude00""#, r#""😀""#),
        (r#""a\/b""#, r#""a/b""#),
        (r#""\u0000""#, r#""\u0000""#),
        (r#""\"\\""#, r#""\u0022\u005c""#),
        (r#"" ""#, r#""\u0020""#),
        ("0", "-0"),
        ("-0", "0"),
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740991", "-9007199254740991"),
        ("7", "7"),
    ] {
        client.subscribe(subscribed);
        client.emit(&format!(r#"["publish",{published},"x"]"#));
        client.expect(&format!(r#"["data",{published},"x"]"#));
        assert_eq!(client.ask(&format!(r#"["unsubscribe",{published}]"#)), "[]");
        client.emit(&format!(r#"["publish",{subscribed},"y"]"#));
        client.assert_silence();
    }
    // Subscribed as, published as: different rooms.
    for (subscribed, published) in [
        ("7", r#""7""#),
        (r#""7""#, "7"),
        (r#""a""#, r#""A""#),
        (r#""a""#, r#""a ""#),
        (r#""é""#, r#""e\u0301""#),
    ] {
        client.subscribe(subscribed);
        client.emit(&format!(r#"["publish",{published},"x"]"#));
        client.assert_silence();
        assert_eq!(client.ask(&format!(r#"["unsubscribe",{subscribed}]"#)), "[]");
    }
}

#[test]
fn what_is_no_room_is_refused_as_invalid_room() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    let too_long = format!("\"{}\"", "x".repeat(1025));
    let too_long_decoded = format!("\"{}\"", "é".repeat(513));
    for room in [
        "\"\"",
        "null",
        "true",
        "false",
        "1.5",
        "1.0",
        "1e3",
        "9007199254740992",
        "-9007199254740992",
        "123456789012345678901234567890",
        "{}",
        "[]",
        "[\"r\"]",
        "{\"room\":1}",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800x""#,
        r#""\ude00\ud83d""#,
        &too_long,
        &too_long_decoded,
    ] {
        for event in [
            format!("[\"subscribe\",{room}]"),
            format!("[\"unsubscribe\",{room}]"),
            format!("[\"publish\",{room},1]"),
        ] {
            assert_refused(&client.ask(&event), "invalid_room", &event);
        }
    }
    let binary = client.ask_binary(r#"["subscribe",{"_placeholder":true,"num":0}]"#, &[b"room"]);
    assert_refused(&binary, "invalid_room", "binary");
    let binary = client.ask_binary(r#"["publish",{"_placeholder":true,"num":0},1]"#, &[b"room"]);
    assert_refused(&binary, "invalid_room", "binary");
    client.assert_silence();
}

#[test]
fn a_room_may_have_1024_bytes() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::Polling4);
    for room in
        [format!("\"{}\"", "x".repeat(1024)), format!("\"{}\"", "é".repeat(512)), "\"\\u00e9\"".to_owned()]
    {
        client.subscribe(&room);
        client.emit(&format!("[\"publish\",{room},1]"));
        client.expect(&format!("[\"data\",{room},1]"));
    }
}

#[test]
fn every_refusal_has_its_code_and_a_sentence() {
    let daemon = Daemon::start(&["--set", "limits.rooms_per_client=2", "--set", "limits.max_payload=2 kB"]);
    let nested = format!("[\"publish\",\"r\",{}{}]", "[".repeat(129), "]".repeat(129));
    let large = format!("[\"broadcast\",\"{}\"]", "x".repeat(1200));
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        for event in [
            "[\"subscribe\"]",
            "[\"subscribe\",\"a\",\"b\"]",
            "[\"subscribe\",\"a\",{\"history\":1}]",
            "[\"unsubscribe\"]",
            "[\"unsubscribe\",\"a\",\"b\"]",
            "[\"publish\"]",
            "[\"publish\",\"r\"]",
            "[\"publish\",\"r\",1,{\"exclude_self\":true}]",
            "[\"broadcast\"]",
            "[\"broadcast\",1,2]",
            "[\"publish\",\"r\",1]x",
            "[\"publish\",\"r\",1] []",
            &nested,
        ] {
            assert_refused(&client.ask(event), "malformed", event);
        }
        for event in
            ["[\"nope\"]", "[\"Subscribe\",\"r\"]", "[\"data\",\"r\",1]", "[\"\",1]", "[\"message\",[],{}]"]
        {
            assert_refused(&client.ask(event), "unknown_event", event);
        }
        client.subscribe("1");
        client.subscribe("2");
        assert_refused(&client.ask("[\"subscribe\",3]"), "too_many_rooms", "the third room");
        client.subscribe("2");
        assert_eq!(client.ask("[\"unsubscribe\",1]"), "[]");
        client.subscribe("3");

        client.assert_silence();
        if matches!(way, Way::Polling3 | Way::Polling4) {
            // Text and attachment come in one body, which is above the limit itself: 413.
            continue;
        }
        let attachment = [0; 1000];
        let event = large.replace(']', ",{\"_placeholder\":true,\"num\":0}]");
        assert_refused(
            &client.ask_binary(&event, &[&attachment]),
            "too_large",
            "text and attachment together",
        );
        client.assert_silence();
    }
}

#[test]
fn without_an_acknowledgement_the_broker_stays_silent() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        for event in [
            "[\"subscribe\",\"r\"]",
            "[\"subscribe\",null]",
            "[\"nope\"]",
            "[\"publish\",\"other\",1]",
            "[\"publish\"]",
        ] {
            client.emit(event);
        }
        client.assert_silence();
    }
}

#[test]
fn refused_events_change_nothing() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket3);
    client.emit("[\"subscribe\",\"r\",\"s\"]");
    client.emit("[\"publish\",\"r\",1]");
    client.emit("[\"publish\",\"s\",1]");
    client.subscribe("\"r\"");
    client.emit("[\"unsubscribe\",\"r\",\"s\"]");
    client.emit("[\"publish\",\"r\",2]");
    client.expect("[\"data\",\"r\",2]");
    client.assert_silence();
}

#[test]
fn acknowledgement_ids_come_back_as_they_were_sent() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        for id in [0, 1, 9, 10, 65_536, 4_294_967_295] {
            client.send(&format!("42{id}[\"subscribe\",\"r\"]"));
            assert_eq!(client.acknowledgement(id), "[]");
        }
    }
}

/// Asserts that `arguments` are one object with this code and a sentence for a person.
fn assert_refused(arguments: &str, code: &str, event: &str) {
    let start = format!("[{{\"error\":\"{code}\",\"message\":\"");
    assert!(arguments.starts_with(&start), "{event}: {arguments}");
    assert!(arguments.ends_with("\"}]"), "{event}: {arguments}");
    assert!(arguments.len() > start.len() + 10, "{event}: {arguments} has no sentence");
}
