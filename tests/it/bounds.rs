//! Every bound in `[limits]` has a test at the bound and over it: here, or where this says.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::vitals::pause;

/// The tests of each bound, by their names.
const TESTS: [(&str, &[&str]); 18] = [
    (
        "max_payload",
        &[
            "a_body_above_the_limit_gets_413_and_a_frame_above_it_closes_with_1009",
            "a_message_may_be_as_large_as_it_says_attachments_included",
        ],
    ),
    ("attachments", &["an_event_may_have_as_many_attachments_as_it_says"]),
    ("nesting", &["a_message_may_be_as_deep_as_it_says"]),
    (
        "connections",
        &[
            "connections_beyond_the_limit_are_answered_and_refused",
            "sessions_are_bounded_though_no_connection_is_open",
        ],
    ),
    ("connections_per_ip", &["sessions_of_one_address_are_bounded_and_no_others"]),
    ("connects_per_second", &["sessions_begin_no_faster_than_configured_and_waiting_as_told_is_enough"]),
    ("rooms_per_client", &["every_refusal_has_its_code_and_a_sentence"]),
    ("room_name_length", &["a_room_may_have_1024_bytes", "what_is_no_room_is_refused_as_invalid_room"]),
    ("events_per_second", &["events_are_limited_in_number_for_each_client"]),
    ("bytes_per_second", &["events_are_limited_in_bytes_attachments_included"]),
    ("send_queue", &["a_send_queue_holds_as_much_as_it_says_and_not_a_byte_more"]),
    ("slow_consumer", &["a_client_that_drops_messages_counts_each_and_others_lose_none"]),
    (
        "write_stall",
        &[
            "a_websocket_that_stalls_is_gone_in_time_and_in_no_room_or_metric",
            "a_byte_read_now_and_then_does_not_keep_a_connection",
            "who_pauses_for_less_than_the_bound_loses_nothing",
        ],
    ),
    ("send_queue_total", &["when_all_queues_together_are_too_long_the_longest_go_first"]),
    (
        "header_timeout",
        &[
            "a_client_that_sends_no_request_is_closed_in_time",
            "who_pauses_for_less_than_the_bound_loses_nothing",
        ],
    ),
    ("header_size", &["a_head_has_the_size_and_the_count_of_headers_that_are_allowed"]),
    (
        "body_timeout",
        &[
            "a_body_that_does_not_come_ends_request_and_session",
            "attachments_that_never_come_end_the_session_and_give_their_memory_back",
            "who_pauses_for_less_than_the_bound_loses_nothing",
        ],
    ),
    ("requests_per_connection", &["a_connection_carries_as_many_requests_as_configured"]),
];

#[test]
fn every_limit_has_a_test_at_the_bound_and_over_it() {
    let defaults = toml::Table::try_from(humble_broker::config::Config::default()).unwrap();
    let keys: BTreeSet<&str> = defaults["limits"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, TESTS.iter().map(|(key, _)| *key).collect());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let sources: String = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for test in TESTS.iter().flat_map(|(_, tests)| *tests) {
        assert!(sources.contains(&format!("#[test]\nfn {test}() {{")), "{test}");
    }
}

#[test]
fn a_message_may_be_as_large_as_it_says_attachments_included() {
    let daemon = Daemon::start(&["--set", "limits.max_payload=10 kB"]);
    let event = "[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]";
    let attachment = vec![7; 10_000 - event.len()];
    for way in [Way::WebSocket3, Way::WebSocket4, Way::Upgrade3, Way::Upgrade4] {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        assert_eq!(client.ask_binary(event, &[&attachment]), "[]", "{way:?}");
        client.expect_binary(&event.replace("publish", "data"), &[&attachment]);
        let refusal = client.ask_binary(&event.replace(":0", ": 0"), &[&attachment]);
        assert!(refusal.starts_with("[{\"error\":\"too_large\""), "{refusal}");
        client.assert_silence();
    }
    // A body of exactly that size, and one of a byte more.
    let mut client = Client::connect(daemon.address, Way::Polling4);
    client.subscribe("\"r\"");
    for (more, status) in [(0, 200), (1, 413)] {
        let start = "42[\"publish\",\"r\",\"";
        let body = format!("{start}{}\"]", "x".repeat(10_000 - start.len() - 2 + more));
        let answer = http::request(daemon.address, "POST", &client.polling_target(), &[], body.as_bytes());
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(client.text(), body.replace("publish", "data"));
        }
    }
}

#[test]
fn an_event_may_have_as_many_attachments_as_it_says() {
    for (most, daemon) in [(10, Daemon::start(&[])), (0, Daemon::start(&["--set", "limits.attachments=0"]))] {
        let event = |count: usize| {
            let place = |n| format!("{{\"_placeholder\":true,\"num\":{n}}}");
            format!("[\"publish\",\"r\",[{}]]", (0..count).map(place).collect::<Vec<_>>().join(","))
        };
        for way in Way::ALL {
            let mut client = Client::connect(daemon.address, way);
            assert_eq!(client.ask_binary(&event(most), &vec![&b"x"[..]; most]), "[]", "{way:?}");
            let refusal = client.ask_binary(&event(most + 1), &vec![&b"x"[..]; most + 1]);
            assert!(refusal.starts_with("[{\"error\":\"malformed\""), "{refusal}");
        }
    }
}

#[test]
fn a_message_may_be_as_deep_as_it_says() {
    for (most, daemon) in [(128, Daemon::start(&[])), (1, Daemon::start(&["--set", "limits.nesting=1"]))] {
        let event = |depth| format!("[\"publish\",\"r\",{}{}]", "[".repeat(depth), "]".repeat(depth));
        for way in Way::ALL {
            let mut client = Client::connect(daemon.address, way);
            assert_eq!(client.ask(&event(most)), "[]", "{way:?}");
            let refusal = client.ask(&event(most + 1));
            assert!(refusal.starts_with("[{\"error\":\"malformed\""), "{refusal}");
        }
    }
}

#[test]
fn who_pauses_for_less_than_the_bound_loses_nothing() {
    let daemon = Daemon::start(&[
        "--set",
        "limits.write_stall=10s",
        "--set",
        "limits.header_timeout=10s",
        "--set",
        "limits.body_timeout=10s",
    ]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut reader = Client::connect(daemon.address, Way::WebSocket4);
    reader.subscribe("\"r\"");
    let filler = "x".repeat(100_000);
    for n in 0..40 {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",[{n},\"{filler}\"]]")), "[]");
    }
    let mut poller = Client::connect(daemon.address, Way::Polling4);
    poller.subscribe("\"r\"");
    let body = "42[\"publish\",\"r\",0]";
    let mut post = http::connect(daemon.address);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        poller.polling_target(),
        body.len()
    );
    let pieces = [&head[..20], &head[20..], &body[..4], &body[4..]];
    for piece in pieces {
        post.write_all(piece.as_bytes()).unwrap();
        pause(Duration::from_millis(500));
    }
    let mut answer = String::new();
    post.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    poller.expect("[\"data\",\"r\",0]");
    for n in 0..40 {
        reader.expect(&format!("[\"data\",\"r\",[{n},\"{filler}\"]]"));
    }
    reader.expect("[\"data\",\"r\",0]");
}
