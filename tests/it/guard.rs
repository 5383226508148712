//! The guard: what a client that does not read, or does not finish, costs only itself.

use std::any::Any;
use std::time::Duration;
use std::time::Instant;

use crate::support::Bystander;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Vitals;
use crate::support::Way;
use crate::support::http;
use crate::support::vitals::pause;
use crate::support::websocket::Incoming;

const WEBSOCKETS: [Way; 4] = [Way::WebSocket3, Way::WebSocket4, Way::Upgrade3, Way::Upgrade4];
const DROPPED: &str = "humble_broker_messages_dropped_total{reason=\"slow_consumer\"}";
const QUEUED: &str = "humble_broker_send_queue_bytes";
/// What a message of this many bytes takes of a send queue: `docs/decisions.md`.
const OVERHEAD: usize = 128;

fn gone(reason: &str) -> String {
    format!("humble_broker_disconnections_total{{reason=\"{reason}\"}}")
}

/// Publishes `count` messages that are `size` bytes long, `["data","r","xxx…"]`.
fn publish(publisher: &mut Client, count: usize, size: usize) {
    let filler = "x".repeat(size - r#"["data","r",""]"#.len());
    for _ in 0..count {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",\"{filler}\"]")), "[]");
    }
}

#[test]
fn a_websocket_that_stalls_is_gone_in_time_and_in_no_room_or_metric() {
    let stall = Duration::from_secs(3);
    let daemon = Daemon::start(&["--set", "limits.write_stall=3s", "--set", "limits.send_queue=64 MB"]);
    let bystander = Bystander::start(daemon.address);
    let before = Vitals::least(&daemon);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let stalled = WEBSOCKETS.map(|way| {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        client
    });
    // More than the system takes for a connection whose peer does not read.
    publish(&mut publisher, 100, 100_000);
    let began = Instant::now();
    daemon.await_metric("humble_broker_subscriptions", 3.0);
    // One second as promised, and one for a busy machine.
    assert!(began.elapsed() < stall + Duration::from_secs(2), "{:?}", began.elapsed());
    drop(publisher);
    before.await_again(&daemon).unwrap();
    daemon.await_metric(QUEUED, 0.0);
    let ended = daemon.metric(&gone("write_stalled")) + daemon.metric(&gone("slow_consumer"));
    assert!((ended - 4.0).abs() < 1e-9, "{ended} {}", http::get(daemon.admin, "/metrics").text());
    assert!(daemon.metric(&gone("write_stalled")) > 0.0);
    drop(stalled);
    bystander.finish();
}

#[test]
fn a_websocket_that_stalls_while_others_go_on_publishing_is_gone_in_time_and_takes_no_memory() {
    let stall = Duration::from_secs(4);
    let daemon = Daemon::start(&["--set", "limits.write_stall=4s", "--set", "limits.send_queue=64 MB"]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut stalled = Client::connect(daemon.address, Way::WebSocket4);
    stalled.subscribe("\"r\"");
    let (began, memory) = (Instant::now(), Vitals::of(&daemon).memory);
    let event = format!("[\"publish\",\"r\",\"{}\"]", "x".repeat(10_000));
    // Steadily, so that the library is never done with writing to those who stall.
    while daemon.metric("humble_broker_subscriptions") > 3.0 {
        for _ in 0..50 {
            publisher.emit(&event);
            pause(Duration::from_millis(3));
        }
        assert!(began.elapsed() < stall + Duration::from_secs(4), "{:?}", began.elapsed());
    }
    daemon.await_metric(QUEUED, 0.0);
    let ended = daemon.metric(&gone("write_stalled")) + daemon.metric(&gone("slow_consumer"));
    assert!((ended - 1.0).abs() < 1e-9, "{ended}");
    let after = Vitals::least(&daemon).memory;
    assert!(after < memory + 150_000, "{memory} KiB, then {after} KiB");
    drop(stalled);
    bystander.finish();
}

#[test]
fn a_byte_read_now_and_then_does_not_keep_a_connection() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=2s", "--set", "limits.send_queue=64 MB"]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut slow = Client::connect(daemon.address, Way::WebSocket4);
    slow.subscribe("\"r\"");
    publish(&mut publisher, 100, 100_000);
    let began = Instant::now();
    // A window's worth at a time, so that the system does take some more.
    while slow.socket().read_some(20_000) && began.elapsed() < crate::support::DEADLINE {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let ended = daemon.metric(&gone("write_stalled")) + daemon.metric(&gone("slow_consumer"));
    assert!((ended - 1.0).abs() < 1e-9, "{ended}");
    bystander.finish();
}

#[test]
fn a_response_that_nobody_reads_does_not_hold_its_connection() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=1s", "--set", "limits.send_queue=64 MB"]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut subscriber = Client::connect(daemon.address, Way::Polling4);
    subscriber.subscribe("\"r\"");
    publish(&mut publisher, 16, 900_000);
    let before = Vitals::least(&daemon);
    let mut poll = http::connect(daemon.address);
    http::send(&mut poll, "GET", &subscriber.polling_target(), &[], b"");
    poll.peek(&mut [0]).unwrap();
    before.await_again(&daemon).unwrap();
    bystander.finish();
}

#[test]
fn a_client_that_polls_over_ever_new_connections_and_reads_no_answer_is_too_slow() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=10m", "--set", "limits.send_queue=3 MB"]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut subscriber = Client::connect(daemon.address, Way::Polling4);
    subscriber.subscribe("\"r\"");
    let mut unread = Vec::new();
    while daemon.metric(&gone("slow_consumer")) < 1.0 {
        assert!(unread.len() < 20, "nobody counts what the answers hold");
        publish(&mut publisher, 1, 900_000);
        let mut poll = http::connect(daemon.address);
        http::send(&mut poll, "GET", &subscriber.polling_target(), &[], b"");
        poll.peek(&mut [0]).unwrap();
        unread.push(poll);
    }
    drop(unread);
    daemon.await_metric(QUEUED, 0.0);
    bystander.finish();
}

#[test]
fn answers_that_nobody_reads_go_with_their_session() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=10m"]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let before = Vitals::most(&daemon);
    let mut unread = Vec::new();
    for _ in 0..10 {
        let mut subscriber = Client::connect(daemon.address, Way::Polling4);
        subscriber.subscribe("\"r\"");
        publish(&mut publisher, 4, 900_000);
        let mut poll = http::connect(daemon.address);
        http::send(&mut poll, "GET", &subscriber.polling_target(), &[], b"");
        poll.peek(&mut [0]).unwrap();
        subscriber.send("1");
        unread.push(poll);
    }
    before.await_again(&daemon).unwrap();
    drop(unread);
    bystander.finish();
}

#[test]
fn a_client_that_upgrades_and_does_not_read_is_owed_what_it_had_not_polled() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=10m", "--set", "limits.send_queue=8 MB"]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut subscriber = Client::connect(daemon.address, Way::Polling4);
    subscriber.subscribe("\"r\"");
    publish(&mut publisher, 8, 900_000);
    let queued = daemon.metric(QUEUED);
    subscriber.upgrade();
    daemon.await_metric("humble_broker_connections{transport=\"websocket\",protocol=\"4\"}", 2.0);
    // All of them, unless the system could take so much at once that none is left.
    let owed = daemon.metric(QUEUED);
    assert!(owed > queued / 2.0, "{owed} of {queued}: they are in memory, and count");
    for _ in 0..8 {
        assert!(subscriber.text().starts_with("42[\"data\",\"r\",\"xxx"));
    }
    daemon.await_metric(QUEUED, 0.0);
}

#[test]
fn a_node_with_a_thousand_stalled_clients_drains_in_time() {
    let mut daemon = Daemon::start(&[
        "--set",
        "limits.write_stall=10m",
        "--set",
        "limits.send_queue_total=4 GB",
        "--set",
        "drain.timeout=2s",
    ]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut stalled: Vec<_> = (0..1_000).map(|_| Client::connect(daemon.address, Way::WebSocket4)).collect();
    for client in &mut stalled {
        client.subscribe("\"r\"");
    }
    publish(&mut publisher, 20, 50_000);
    assert!(daemon.metric(QUEUED) > 1e8, "they stall");
    let began = Instant::now();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert!(daemon.log().contains("run out of time"), "{}", daemon.log());
}

#[test]
fn a_send_queue_holds_as_much_as_it_says_and_not_a_byte_more() {
    for policy in ["disconnect", "drop"] {
        let size = 1_000;
        let bound = format!("limits.send_queue={} B", 10 * (1 + size + OVERHEAD));
        let policy_key = format!("limits.slow_consumer={policy}");
        let daemon = Daemon::start(&["--set", &bound, "--set", &policy_key]);
        let bystander = Bystander::start(daemon.address);
        let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
        for way in [Way::Polling3, Way::Polling4] {
            let dropped = daemon.metric(DROPPED);
            let mut full = Client::connect(daemon.address, way);
            full.subscribe("\"r\"");
            publish(&mut publisher, 10, size);
            assert!((daemon.metric(DROPPED) - dropped).abs() < 1e-9, "ten messages fit");
            publish(&mut publisher, 1, size);
            daemon.await_metric(DROPPED, dropped + 1.0);
            if policy == "disconnect" {
                assert_eq!(http::get(daemon.address, &full.polling_target()).status, 400);
            } else {
                // It gets what fitted and nothing of what did not, and then what comes.
                for _ in 0..10 {
                    assert!(full.text().starts_with("42[\"data\",\"r\",\"xxx"));
                }
                full.assert_silence();
                publish(&mut publisher, 1, size);
                assert!(full.text().starts_with("42[\"data\",\"r\",\"xxx"));
                full.assert_silence();
                full.send("41");
            }
        }
        let ended = if policy == "disconnect" { 2.0 } else { 0.0 };
        daemon.await_metric(&gone("slow_consumer"), ended);
        bystander.finish();
    }
}

#[test]
fn clients_that_connect_amid_broadcasts_are_not_owed_what_was_not_sent_to_them() {
    let daemon = Daemon::start(&["--set", "limits.write_stall=3s"]);
    // It happened to one client in some hundred.
    for _ in 0..100 {
        let mut publishers = [0, 1].map(|_| Client::connect(daemon.address, Way::WebSocket4));
        let mut listener = Client::connect(daemon.address, Way::WebSocket4);
        let mut clients: Vec<_> = (0..12).map(|_| Client::open(daemon.address, Way::WebSocket4)).collect();
        std::thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(|| (0..300).for_each(|_| publisher.emit("[\"broadcast\",1]")));
            }
            listener.expect("[\"broadcast\",1]");
            for client in &mut clients {
                client.send("40");
            }
        });
        // So that nothing of them is left when the next ones connect.
        for publisher in &mut publishers {
            assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
        }
        // So little that the system takes it for clients that do not read.
        daemon.await_metric(QUEUED, 0.0);
        assert!(daemon.metric(&gone("slow_consumer")) < 1.0, "for a message that it was never sent");
    }
}

#[test]
fn an_empty_queue_takes_any_one_message() {
    let daemon = Daemon::start(&["--set", "limits.send_queue=1 B"]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.emit("[\"subscribe\",\"r\"]");
    let filler = "x".repeat(900_000);
    client.emit(&format!("[\"publish\",\"r\",\"{filler}\"]"));
    client.expect(&format!("[\"data\",\"r\",\"{filler}\"]"));
}

#[test]
fn a_client_that_drops_messages_counts_each_and_others_lose_none() {
    let daemon = Daemon::start(&[
        "--set",
        "limits.slow_consumer=drop",
        "--set",
        "limits.send_queue=1 MB",
        "--set",
        "limits.write_stall=10m",
    ]);
    let bystander = Bystander::start(daemon.address);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut slow = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for client in &mut slow {
        client.subscribe("\"r\"");
    }
    let mut reader = Client::connect(daemon.address, Way::WebSocket4);
    reader.subscribe("\"r\"");
    let filler = "x".repeat(100_000);
    for n in 0..100 {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",[{n},\"{filler}\"]]")), "[]");
        reader.expect(&format!("[\"data\",\"r\",[{n},\"{filler}\"]]"));
    }
    let dropped = daemon.metric(DROPPED);
    assert!(dropped > 0.0);
    let mut received = 0_u32;
    for client in &mut slow {
        // An acknowledgement comes behind everything that is queued, and is never dropped.
        client.send("427[\"unsubscribe\",\"r\"]");
        let mut last = -1;
        loop {
            let text = client.text();
            if text == "437[]" {
                break;
            }
            let number = text.trim_start_matches("42[\"data\",\"r\",[").split(',').next().unwrap();
            let number: i64 = number.parse().unwrap();
            assert!(number > last, "in order");
            last = number;
            received += 1;
        }
    }
    assert!((f64::from(received) + dropped - 600.0).abs() < 1e-9, "{received} received, {dropped} dropped");
    daemon.await_metric(QUEUED, 0.0);
    bystander.finish();
}

#[test]
fn when_all_queues_together_are_too_long_the_longest_go_first() {
    let (size, total) = (10_000, 400_000);
    let bound = format!("limits.send_queue_total={total} B");
    for policy in ["limits.slow_consumer=disconnect", "limits.slow_consumer=drop"] {
        let daemon = Daemon::start(&["--set", &bound, "--set", policy]);
        let bystander = Bystander::start(daemon.address);
        let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
        let mut long = Client::connect(daemon.address, Way::Polling4);
        long.subscribe("\"r\"");
        publish(&mut publisher, 20, size);
        let mut short = Client::connect(daemon.address, Way::Polling4);
        short.subscribe("\"r\"");
        // 20 and then 10 for each of two: just below.
        publish(&mut publisher, 9, size);
        let queued = daemon.metric(QUEUED);
        assert!(queued > 380_000.0 && queued <= 400_000.0, "{queued}");
        assert!(daemon.metric(&gone("slow_consumer")) < 1.0);
        publish(&mut publisher, 1, size);
        let deadline = Instant::now() + Duration::from_secs(10);
        while daemon.metric(QUEUED) > 380_000.0 {
            assert!(Instant::now() < deadline, "it is too much, and stays so");
        }
        assert_eq!(http::get(daemon.address, &long.polling_target()).status, 400, "the longest is gone");
        daemon.await_metric(&gone("slow_consumer"), 1.0);
        for _ in 0..10 {
            assert!(short.text().starts_with("42[\"data\",\"r\",\"xxx"));
        }
        short.assert_silence();
        bystander.finish();
    }
}

#[test]
fn one_message_to_very_many_who_read_disconnects_none_of_them() {
    let daemon = Daemon::start(&["--set", "limits.send_queue_total=1 MB"]);
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut readers: Vec<_> = (0..15).map(|_| Client::connect(daemon.address, way)).collect();
        let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
        let filler = "x".repeat(100_000);
        publisher.emit(&format!("[\"broadcast\",\"{filler}\"]"));
        for reader in &mut readers {
            reader.expect(&format!("[\"broadcast\",\"{filler}\"]"));
        }
        assert!(daemon.metric(&gone("slow_consumer")) < 1.0, "{way:?}");
    }
}

#[test]
fn a_thousand_subscribers_that_read_lose_nothing_of_thirty_two_thousand_in_flight() {
    let daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut readers: Vec<_> = (0..1_000).map(|_| Client::connect(daemon.address, Way::WebSocket4)).collect();
    for reader in &mut readers {
        reader.subscribe("\"r\"");
    }
    let filler = "x".repeat(100);
    for round in 0..5 {
        for n in 0..32 {
            publisher.emit(&format!("[\"publish\",\"r\",[{round},{n},\"{filler}\"]]"));
        }
        for reader in &mut readers {
            for n in 0..32 {
                reader.expect(&format!("[\"data\",\"r\",[{round},{n},\"{filler}\"]]"));
            }
        }
    }
    assert!(daemon.metric(DROPPED) < 1.0);
}

/// Has `hold` done over and over, and waits each time until all that it began has ended; memory must
/// level off: the system's allocator gives back what is free with some delay, and not all of it.
fn assert_memory_comes_back(daemon: &Daemon, what: &str, mut hold: impl FnMut() -> Vec<Box<dyn Any>>) {
    let mut settled: Vec<u64> = Vec::new();
    let levels_off = |settled: &[u64]| {
        let grows = |pair: &[u64]| pair[1] > pair[0] + pair[0] / 10;
        settled.len() > 3 && !settled[settled.len() - 3..].windows(2).any(grows)
    };
    while !levels_off(&settled) {
        assert!(settled.len() < 9, "{what}: {settled:?} KiB");
        let before = Vitals::least(daemon);
        let begun = hold();
        before.await_again(daemon).unwrap_or_else(|least| panic!("{what}: {least:?}, not {before:?}"));
        drop(begun);
        settled.push(Vitals::least(daemon).memory);
    }
}

#[test]
fn attachments_that_never_come_end_the_session_and_give_their_memory_back() {
    let daemon = Daemon::start(&["--set", "limits.body_timeout=1s"]);
    let bystander = Bystander::start(daemon.address);
    let attachment = vec![7; 700_000];
    assert_memory_comes_back(&daemon, "attachments", || {
        let begin = |n: usize| {
            let mut client = Client::connect(daemon.address, Way::ALL[n % 6]);
            client.send("454-[\"publish\",\"r\",1]");
            client.send_binary(&attachment);
            client.send_binary(&attachment);
            Box::new(client) as _
        };
        (0..24).map(begin).collect()
    });
    assert!(daemon.metric(&gone("protocol_error")) >= 4.0 * 24.0);
    bystander.finish();
}

#[test]
fn attachments_that_come_in_time_are_not_hurried_by_earlier_ones() {
    let daemon = Daemon::start(&["--set", "limits.body_timeout=1s"]);
    for way in [Way::WebSocket4, Way::Polling4, Way::Upgrade3] {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        let began = Instant::now();
        let placeholder = "{\"_placeholder\":true,\"num\":0}";
        // One announcement is open all the while, and none for long.
        client.send(&format!("451-[\"publish\",\"r\",{placeholder}]"));
        while began.elapsed() < Duration::from_millis(2_500) {
            std::thread::park_timeout(Duration::from_millis(300));
            client.send_binary(b"x");
            client.send(&format!("451-[\"publish\",\"r\",{placeholder}]"));
            client.expect_binary(&format!("[\"data\",\"r\",{placeholder}]"), &[b"x"]);
        }
    }
}

#[test]
fn events_are_limited_in_number_for_each_client() {
    let daemon = Daemon::start(&["--set", "limits.events_per_second=20"]);
    let mut other = Client::connect(daemon.address, Way::WebSocket4);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        let began = Instant::now();
        let mut taken = 0;
        let refusal = loop {
            match client.ask("[\"subscribe\",\"r\"]") {
                answer if answer == "[]" => taken += 1,
                refusal => break refusal,
            }
        };
        assert!(refusal.starts_with("[{\"error\":\"rate_limited\",\"message\":\""), "{refusal}");
        // The burst, and what has come since it began.
        let most = 20 + 1 + began.elapsed().as_millis() / 50;
        assert!(taken >= 20 && taken <= most, "{taken} of {most}");
        assert_eq!(other.ask("[\"publish\",\"q\",1]"), "[]", "others are not limited by it");
        // It is not disconnected, and may go on after a moment.
        while client.ask("[\"unsubscribe\",\"r\"]") != "[]" {}
    }
    assert!(daemon.metric("humble_broker_events_total{event=\"other\",outcome=\"rate_limited\"}") >= 6.0);
}

#[test]
fn a_client_that_leaves_and_comes_back_over_one_connection_has_spent_what_it_has_spent() {
    let daemon = Daemon::start(&["--set", "limits.events_per_second=1"]);
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut client = Client::connect(daemon.address, way);
        assert_eq!(client.ask("[\"subscribe\",\"r\"]"), "[]");
        let mut refused = 0;
        for _ in 0..5 {
            client.send("41");
            // The library ignores a CONNECT while it is busy with the one before; it answers the other.
            let mut entered = false;
            while !entered {
                client.send("40");
                client.send("40/x,");
                let texts = std::iter::repeat_with(|| client.text());
                let heard = texts.take_while(|text| !text.starts_with("44/x"));
                entered = heard.filter(|text| text.starts_with("40{")).count() > 0;
            }
            refused += usize::from(client.ask("[\"subscribe\",\"r\"]") != "[]");
        }
        assert!(refused > 0, "{way:?}: each time with a full bucket");
    }
}

#[test]
fn events_are_limited_in_bytes_attachments_included() {
    let daemon =
        Daemon::start(&["--set", "limits.bytes_per_second=10 kB", "--set", "limits.max_payload=100 kB"]);
    let filler = "x".repeat(99_000);
    for way in [Way::WebSocket4, Way::Polling3] {
        // A largest message fits however few bytes there are in a second; a second one does not.
        let mut client = Client::connect(daemon.address, way);
        assert_eq!(client.ask(&format!("[\"publish\",\"r\",\"{filler}\"]")), "[]");
        let refusal = client.ask(&format!("[\"publish\",\"r\",\"{filler}\"]"));
        assert!(refusal.starts_with("[{\"error\":\"rate_limited\""), "{refusal}");
        let mut client = Client::connect(daemon.address, way);
        let event = "[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]";
        assert_eq!(client.ask_binary(event, &[filler.as_bytes()]), "[]");
        let refusal = client.ask_binary(event, &[filler.as_bytes()]);
        assert!(refusal.starts_with("[{\"error\":\"rate_limited\""), "{refusal}");
    }
}

#[test]
fn a_panic_costs_one_event_of_one_client_and_is_counted() {
    let daemon = Daemon::start(&[]);
    let bystander = Bystander::start(daemon.address);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        let before = daemon.metric("humble_broker_panics_total");
        client.emit("[\"subscribe\",\"\\u0000panic\"]");
        client.emit("[\"publish\",\"r\",1]");
        client.expect("[\"data\",\"r\",1]");
        daemon.await_metric("humble_broker_panics_total", before + 1.0);
    }
    bystander.finish();
}

#[test]
fn answers_that_a_client_provokes_and_does_not_read_are_few() {
    for parser in ["socketio.parser=json", "socketio.parser=msgpack"] {
        let daemon = Daemon::start(&["--set", parser, "--set", "limits.write_stall=1s"]);
        let before = Vitals::least(&daemon);
        for way in [Way::WebSocket3, Way::Upgrade4] {
            let mut client = Client::open(daemon.address, way);
            if way == Way::Upgrade4 {
                client.upgrade();
            }
            // Each is answered with as much as it says itself.
            let namespace = format!("/{}", "x".repeat(300_000));
            let sent = client.socket().flood(|socket| {
                if parser == "socketio.parser=json" {
                    socket.send(&format!("40{namespace},"));
                    return;
                }
                let packet = rmpv::Value::Map(vec![
                    ("type".into(), 0.into()),
                    ("nsp".into(), namespace.as_str().into()),
                ]);
                let mut bytes = if way == Way::WebSocket3 { vec![4] } else { vec![] };
                rmpv::encode::write_value(&mut bytes, &packet).unwrap();
                socket.send_binary(&bytes);
            });
            assert!(sent < 200, "{way:?}: {sent} were taken");
            before.await_again(&daemon).unwrap();
        }
        // Sixteen of them for each of two, and what the allocator keeps.
        let after = Vitals::least(&daemon).memory;
        assert!(after < before.memory + 60_000, "{parser}: {} KiB, then {after} KiB", before.memory);
        let client = Client::open(daemon.address, Way::Polling4);
        let body = vec!["40/x,"; 10_000].join("\x1e");
        let answer = http::request(daemon.address, "POST", &client.polling_target(), &[], body.as_bytes());
        assert_eq!(answer.status, 200);
        assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
    }
}

/// Begins something that it does not go on with.
type Stop = fn(&Daemon) -> Vec<Box<dyn Any>>;

#[test]
fn sessions_that_stop_half_way_end_in_time_and_give_their_memory_back() {
    let daemon = Daemon::start(&[
        "--set",
        "socketio.connect_timeout=500ms",
        "--set",
        "socketio.upgrade_timeout=500ms",
        "--set",
        "socketio.ping_interval=500ms",
        "--set",
        "socketio.ping_timeout=1s",
    ]);
    let stops: [(&str, Stop); 4] = [
        ("handshakes without a CONNECT", |daemon| {
            let open = |way| Box::new(Client::open(daemon.address, way)) as _;
            [Way::WebSocket4, Way::Polling4].into_iter().map(open).collect()
        }),
        ("polling sessions that nobody polls", |daemon| {
            let connect = |way| Box::new(Client::connect(daemon.address, way)) as _;
            [Way::Polling3, Way::Polling4].into_iter().map(connect).collect()
        }),
        ("upgrades without a probe", |daemon| {
            let client = Client::connect(daemon.address, Way::Polling4);
            vec![Box::new(client.open_upgrade(daemon.address)), Box::new(client)]
        }),
        ("upgrades that are probed and not finished", |daemon| {
            let client = Client::connect(daemon.address, Way::Polling3);
            let mut socket = client.open_upgrade(daemon.address);
            socket.send("2probe");
            assert_eq!(socket.text(), "3probe");
            vec![Box::new(socket), Box::new(client)]
        }),
    ];
    for (name, stop) in stops {
        assert_memory_comes_back(&daemon, name, || (0..200).flat_map(|_| stop(&daemon)).collect());
    }
}

#[test]
fn a_client_that_is_told_1001_can_read_what_was_sent_before() {
    let daemon = Daemon::start(&["--set", "limits.send_queue=500 kB", "--set", "limits.write_stall=10m"]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut slow = Client::connect(daemon.address, Way::WebSocket4);
    slow.subscribe("\"r\"");
    while daemon.metric("humble_broker_subscriptions") > 0.0 {
        publish(&mut publisher, 10, 10_000);
    }
    let mut messages = 0;
    let end = loop {
        match slow.socket().next() {
            Incoming::Text(text) if text.starts_with("42[\"data\"") => messages += 1,
            Incoming::Text(text) => assert_eq!(text, "2"),
            end => break end,
        }
    };
    assert!(messages > 0);
    assert_eq!(end, Incoming::Close(Some(1001)));
}
