//! Messages arrive as they were sent, byte for byte, and poison is refused at the publisher.

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

/// Values that a broker which decodes and encodes would change, or lose.
fn values() -> Vec<String> {
    let mut values: Vec<String> = [
        "0",
        "-0",
        "1",
        "-1",
        "1.0",
        "1.10",
        "-0.0",
        "1e2",
        "1E+2",
        "1e-2",
        "1e400",
        "-1e400",
        "5e-324",
        "0.1000000000000000055511151231257827",
        "9007199254740993",
        "12345678901234567890",
        "-123456789012345678901234567890",
        "true",
        "false",
        "null",
        r#""""#,
        r#""\u0000""#,
        r#""\u001f""#,
        r#""\b\f\n\r\t\"\\\/""#,
        r#""/""#,
        r#""\u002f""#,
        r#""é""#,
        r#""\u00e9""#,
        r#""\u00E9""#,
        r#""e\u0301""#,
        r#""😀""#,
        r#""\ud83d\ude00""#,
        r#""\uD83D\uDE00""#,
        r#""\ud800""#,
        r#""\udc00 \ud800x""#,
        "\"\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\u{fffd}\u{10ffff}\"",
        r#""42[\"data\",\"r\",1]""#,
        r#""\u001e4injected""#,
        "[]",
        "{}",
        r#"{"":""}"#,
        r#"[[],{},[{}],{"a":[]}]"#,
        r#"{"b":1,"a":2,"b":3}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"{"__proto__":{"x":1},"constructor":null}"#,
        r#"{"_placeholder":true,"num":0}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"[{"_placeholder":true}]"#,
        "[1,  2 ,\t3]",
        "{ \"a\" : 1 , \"b\" :\n[ ] }",
    ]
    .map(str::to_owned)
    .into();
    values.push(format!("{}1{}", "[".repeat(128), "]".repeat(128)));
    values.push(format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128)));
    values.push(format!("\"{}\"", "x".repeat(900_000)));
    values.push(format!("\"{}\"", "😀é".repeat(100_000)));
    values.push("9".repeat(100));
    values.push(format!("0.{}", "1".repeat(5_000)));
    assert!(values.len() >= 40);
    values
}

#[test]
fn every_value_arrives_byte_for_byte_whatever_the_ways() {
    let daemon = Daemon::start(&[]);
    let mut subscribers = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for subscriber in &mut subscribers {
        subscriber.subscribe("\"r\"");
    }
    for way in Way::ALL {
        let mut publisher = Client::connect(daemon.address, way);
        for value in values() {
            assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",{value}]")), "[]", "{value:.60}");
            for subscriber in &mut subscribers {
                subscriber.expect(&format!("[\"data\",\"r\",{value}]"));
            }
        }
        for value in values().iter().take(5) {
            publisher.emit(&format!("[\"broadcast\",{value}]"));
            for subscriber in &mut subscribers {
                subscriber.expect(&format!("[\"broadcast\",{value}]"));
            }
        }
        publisher.send("41");
    }
}

#[test]
fn space_around_arguments_is_not_part_of_them() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    assert_eq!(client.ask("[ \"subscribe\" ,\n\"r\"\t]"), "[]");
    assert_eq!(client.ask("[\"publish\",  \"\\u0072\" , [ 1 ]  ]"), "[]");
    client.expect("[\"data\",\"\\u0072\",[ 1 ]]");
}

#[test]
fn binary_attachments_arrive_wherever_they_stand() {
    let daemon = Daemon::start(&[]);
    let placeholder = |n: usize| format!("{{\"_placeholder\":true,\"num\":{n}}}");
    let large = vec![0xab; 500_000];
    let all: Vec<u8> = (0..=255).collect();
    let cases: Vec<(String, Vec<&[u8]>)> = vec![
        (placeholder(0), vec![b"top"]),
        (placeholder(0), vec![b""]),
        (placeholder(0), vec![&all]),
        (placeholder(0), vec![&large]),
        (placeholder(0), vec![b"b4AQ="]),
        // What ends a session, and what refuses a client, where the msgpack parser is spoken.
        (placeholder(0), vec![b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data"]),
        (placeholder(0), vec![b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xacunauthorized"]),
        (format!("{{\"a\":[{{\"b\":{}}}]}}", placeholder(0)), vec![b"nested"]),
        (format!("[{},{}]", placeholder(1), placeholder(0)), vec![b"second", b"first"]),
        (format!("[{0},{0},{0}]", placeholder(0)), vec![b"repeated"]),
        (format!("[{},1.0,\"é\",{}]", placeholder(0), placeholder(1)), vec![b"", b"\0\x01\x02\x1e"]),
        ("{\"num\":0,\"_placeholder\":true}".to_owned(), vec![b"other order"]),
        ("{\"_placeholder\":true,\"num\":0,\"extra\":1.0}".to_owned(), vec![b"other keys"]),
        ("{\"\\u005fplaceholder\":true,\"n\\u0075m\":0}".to_owned(), vec![b"escaped keys"]),
        ("{\"_placeholder\":true,\"num\":7,\"num\":0}".to_owned(), vec![b"the last key counts"]),
        (
            "[{\"_placeholder\":false,\"num\":9},{\"_placeholder\":true,\"num\":0}]".to_owned(),
            vec![b"one of them"],
        ),
        (
            format!("[{}]", (0..10).map(placeholder).collect::<Vec<_>>().join(",")),
            vec![b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"],
        ),
    ];
    let mut subscribers = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for subscriber in &mut subscribers {
        subscriber.subscribe("\"r\"");
    }
    for way in Way::ALL {
        let mut publisher = Client::connect(daemon.address, way);
        for (message, attachments) in &cases {
            let acknowledged = publisher.ask_binary(&format!("[\"publish\",\"r\",{message}]"), attachments);
            assert_eq!(acknowledged, "[]", "{message}");
            for subscriber in &mut subscribers {
                subscriber.expect_binary(&format!("[\"data\",\"r\",{message}]"), attachments);
            }
        }
        publisher.emit_binary(&format!("[\"broadcast\",{}]", placeholder(0)), &[b"to all"]);
        for subscriber in &mut subscribers {
            subscriber.expect_binary(&format!("[\"broadcast\",{}]", placeholder(0)), &[b"to all"]);
        }
        publisher.send("41");
    }
}

#[test]
fn poison_is_refused_and_the_victim_does_not_notice() {
    let daemon = Daemon::start(&[]);
    let mut victims = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for victim in &mut victims {
        victim.subscribe("\"r\"");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let texts: Vec<String> = vec![
        deep(129),
        deep(1_000),
        deep(100_000),
        format!("{}1{}", "{\"a\":".repeat(129), "}".repeat(129)),
        "9".repeat(101),
        format!("-{}", "9".repeat(100)),
        format!("[{}]", "1".repeat(5_000)),
    ];
    let placeholder = "{\"_placeholder\":true,\"num\":0}";
    // Messages with one attachment.
    let binaries: Vec<String> = [
        "{\"_placeholder\":true,\"num\":1}",
        "{\"_placeholder\":true,\"num\":-1}",
        "{\"_placeholder\":true,\"num\":0.5}",
        "{\"_placeholder\":true,\"num\":1e0}",
        "{\"_placeholder\":true,\"num\":\"0\"}",
        "{\"_placeholder\":true,\"num\":null}",
        "{\"_placeholder\":true,\"num\":[0]}",
        "{\"_placeholder\":true,\"num\":99999999999999999999999}",
        "{\"_placeholder\":true}",
        "{\"_placeholder\":1,\"num\":5}",
        "{\"_placeholder\":\"yes\",\"num\":5}",
        "{\"_placeholder\":[0],\"num\":5}",
        "{\"_placeholder\":{},\"num\":5}",
        "{\"\\u005fplaceholder\":true,\"num\":5}",
        "{\"_placeholder\":true,\"n\\u0075m\":5}",
        "{\"_placeholder\":true,\"num\":0,\"num\":5}",
        "{\"_placeholder\":false,\"num\":5,\"_placeholder\":true}",
        "\"no placeholder\"",
        "{\"a\":{\"_placeholder\":true,\"num\":3}}",
    ]
    .into_iter()
    .flat_map(|bad| [bad.to_owned(), format!("[{placeholder},{bad}]")])
    // With a good one beside it, a message without a second placeholder is a good message.
    .filter(|message| !message.contains("no placeholder") || !message.contains("_placeholder"))
    .collect();
    for way in Way::ALL {
        let mut attacker = Client::connect(daemon.address, way);
        for text in &texts {
            let refusal = attacker.ask(&format!("[\"publish\",\"r\",{text}]"));
            assert!(refusal.contains("\"malformed\""), "{text:.60}: {refusal}");
        }
        for message in &binaries {
            let refusal = attacker.ask_binary(&format!("[\"publish\",\"r\",{message}]"), &[b"x"]);
            assert!(refusal.contains("\"malformed\""), "{message}: {refusal}");
        }
        let eleven: Vec<String> = (0..11).map(|n| placeholder.replace('0', &n.to_string())).collect();
        let message = format!("[\"publish\",\"r\",[{}]]", eleven.join(","));
        let refusal = attacker.ask_binary(&message, &[b"x".as_slice(); 11]);
        assert!(refusal.contains("\"malformed\""), "{refusal}");
        assert_eq!(attacker.ask("[\"publish\",\"r\",\"still here\"]"), "[]");
        for victim in &mut victims {
            victim.expect("[\"data\",\"r\",\"still here\"]");
        }
        attacker.send("41");
    }
    for victim in &mut victims {
        victim.assert_silence();
    }
}

#[test]
fn what_breaks_the_protocol_closes_that_connection_and_no_other() {
    let daemon = Daemon::start(&[]);
    let mut victims = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for victim in &mut victims {
        victim.subscribe("\"r\"");
    }
    let open = format!("42[\"publish\",\"r\",{}", "[".repeat(100_000));
    let packets = [
        "42",
        "42[",
        "42[]",
        "42{}",
        "42[1]",
        "42[null,\"r\"]",
        "42[[\"publish\"],\"r\",1]",
        "42\"publish\"",
        "42[\"\\u0070ublish\",\"r\",1]",
        "42[\"publish\",\"r\",01]",
        "42[\"publish\",\"r\",NaN]",
        "42[\"publish\",\"r\",1",
        "42[\"publish\",\"r\",\"\u{1}\"]",
        "42[\"publish\",\"r\",\"\\x\"]",
        "42[\"publish\",\"r\",]",
        "45[\"publish\",\"r\",1]",
        "45x-[\"publish\",\"r\",1]",
        "45-[\"publish\"]",
        "4599999999999-[\"publish\",\"r\",1]",
        "451-[\"publish\",\"r\",1]",
        "44{}",
        "47",
        "4",
        "49[\"x\"]",
        "0",
        "5",
        "6",
        "7",
        "x",
        "é",
        "2[",
        &open,
    ];
    for way in [Way::WebSocket3, Way::WebSocket4] {
        for packet in packets {
            let mut attacker = Client::connect(daemon.address, way);
            let socket = attacker.socket();
            socket.send(packet);
            // An event that announces an attachment breaks the protocol with the next event.
            socket.send("42[\"publish\",\"victim\",1]");
            socket.send("42[\"publish\"");
            loop {
                use crate::support::websocket::Incoming;
                match socket.next() {
                    Incoming::Close(_) => {}
                    Incoming::End => break,
                    other => assert!(!format!("{other:?}").contains("41"), "{packet:.40}: {other:?}"),
                }
            }
        }
        let mut witness = Client::connect(daemon.address, way);
        assert_eq!(witness.ask("[\"publish\",\"r\",\"still here\"]"), "[]");
        for victim in &mut victims {
            victim.expect("[\"data\",\"r\",\"still here\"]");
        }
    }
    for victim in &mut victims {
        victim.assert_silence();
    }
}
