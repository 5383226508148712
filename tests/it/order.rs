//! Order, and that nothing is lost: early, in bursts, among many.

use humble_broker::wire::payload::Packet;
#[cfg(debug_assertions)]
use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

/// For a release that is a room like any other.
#[cfg(debug_assertions)]
#[test]
fn a_delivery_that_takes_long_keeps_nobody_waiting_in_other_rooms() {
    let mut daemon = Daemon::start(&[]);
    let [mut publisher, mut member, mut other] =
        [(); 3].map(|()| Client::connect(daemon.address, Way::WebSocket4));
    for client in [&mut publisher, &mut member, &mut other] {
        client.subscribe(r#""held""#);
    }
    // From now on a delivery in that room does not end.
    publisher.emit(r#"["subscribe","\u0000hold a room"]"#);
    for number in 0..100 {
        let mut client = Client::connect(daemon.address, Way::WebSocket4);
        client.subscribe(&format!("\"room {number}\""));
        other.subscribe(&format!("\"room {number}\""));
        client.emit(&format!(r#"["publish","room {number}",1]"#));
        other.expect(&format!(r#"["data","room {number}",1]"#));
    }
    assert_eq!(member.ask(r#"["publish","held",1]"#), "[]", "what only reads does not wait either");
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
}

#[test]
fn what_one_client_emits_takes_effect_in_order() {
    const MESSAGES: usize = 20_000;
    let daemon = Daemon::start(&["--set", "server.workers=4"]);
    for (from, to) in [
        (Way::WebSocket4, Way::WebSocket4),
        (Way::WebSocket3, Way::Polling4),
        (Way::Upgrade4, Way::WebSocket3),
    ] {
        let mut subscriber = Client::connect(daemon.address, to);
        subscriber.subscribe("\"r\"");
        let address = daemon.address;
        let publisher = std::thread::spawn(move || {
            let mut publisher = Client::connect(address, from);
            for n in 0..MESSAGES {
                publisher.emit(&format!("[\"publish\",\"r\",{n}]"));
            }
            publisher.assert_silence();
        });
        for n in 0..MESSAGES {
            subscriber.expect(&format!("[\"data\",\"r\",{n}]"));
        }
        publisher.join().unwrap();
    }
}

#[test]
fn subscribing_and_publishing_at_once_delivers_to_oneself() {
    let daemon = Daemon::start(&["--set", "server.workers=4"]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        for n in 0..200 {
            client.emit(&format!("[\"subscribe\",{n}]"));
            client.emit(&format!("[\"publish\",{n},1]"));
            client.emit(&format!("[\"unsubscribe\",{n}]"));
            client.emit(&format!("[\"publish\",{n},2]"));
            client.expect(&format!("[\"data\",{n},1]"));
        }
        client.assert_silence();
    }
}

#[test]
fn a_thousand_clients_that_publish_in_the_instant_they_are_connected_lose_nothing() {
    const CLIENTS: usize = 1_000;
    const THREADS: usize = 20;
    let daemon = Daemon::start(&["--set", "server.workers=4"]);
    let mut subscriber = Client::connect(daemon.address, Way::WebSocket4);
    subscriber.subscribe("\"r\"");
    let address = daemon.address;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                for n in 0..CLIENTS / THREADS {
                    let way = Way::ALL[n % Way::ALL.len()];
                    let mut client = Client::connect(address, way);
                    let number = thread * CLIENTS / THREADS + n;
                    client.emit(&format!("[\"publish\",\"r\",{number}]"));
                    client.assert_silence();
                }
            })
        })
        .collect();
    let mut heard: Vec<usize> = (0..CLIENTS)
        .map(|_| {
            let text = subscriber.text();
            let number = text.strip_prefix("42[\"data\",\"r\",").and_then(|rest| rest.strip_suffix(']'));
            number.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..CLIENTS).collect::<Vec<_>>());
    subscriber.assert_silence();
}

#[test]
fn a_polling_client_survives_a_burst_of_binary_messages() {
    let daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    for way in [Way::Polling3, Way::Polling4] {
        let mut subscriber = Client::connect(daemon.address, way);
        subscriber.subscribe("\"r\"");
        let message = "{\"_placeholder\":true,\"num\":0}";
        for n in 0..500_u16 {
            publisher.emit_binary(&format!("[\"publish\",\"r\",{message}]"), &[&n.to_be_bytes()]);
        }
        for n in 0..500_u16 {
            subscriber.expect_binary(&format!("[\"data\",\"r\",{message}]"), &[&n.to_be_bytes()]);
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_disconnected_counted_and_harms_nobody() {
    let daemon = Daemon::start(&["--set", "limits.send_queue=1 MB"]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut reader = Client::connect(daemon.address, Way::WebSocket4);
    reader.subscribe("\"r\"");
    let mut stalled =
        [Way::WebSocket3, Way::WebSocket4, Way::Polling4].map(|way| Client::connect(daemon.address, way));
    for client in &mut stalled {
        client.subscribe("\"r\"");
    }
    let filler = "x".repeat(100_000);
    let mut sent = 0;
    while daemon.metric("humble_broker_subscriptions") > 1.0 {
        assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",[{sent},\"{filler}\"]]")), "[]");
        reader.expect(&format!("[\"data\",\"r\",[{sent},\"{filler}\"]]"));
        sent += 1;
        assert!(sent < 1_000, "no queue fills up");
    }
    daemon.await_metric("humble_broker_messages_dropped_total{reason=\"slow_consumer\"}", 3.0);
    // The two that used WebSocket are gone; the one that polls learns it when it polls.
    daemon.await_metric("humble_broker_disconnections_total{reason=\"slow_consumer\"}", 2.0);
    assert_eq!(crate::support::http::get(daemon.address, &stalled[2].polling_target()).status, 400);
    daemon.await_metric("humble_broker_disconnections_total{reason=\"slow_consumer\"}", 3.0);
    reader.assert_silence();
}

#[test]
fn what_comes_at_once_takes_effect_one_after_the_other() {
    let daemon = Daemon::start(&[]);
    for way in Way::ALL {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"a\"");
        // Acknowledgements come behind what they acknowledge, whatever is published in a row.
        let events = [
            "421[\"publish\",\"a\",1]",
            "422[\"publish\",\"a\",2]",
            "423[\"publish\",\"\",3]",
            "424[\"publish\",\"b\",4]",
            "425[\"subscribe\",\"b\"]",
            "426[\"publish\",\"b\",6]",
            "427[\"unsubscribe\",\"a\"]",
            "428[\"publish\",\"a\",8]",
            "429[\"publish\",\"b\",9]",
        ];
        client.send_all(&events.map(|event| Packet::Text(event.into())));
        let heard: Vec<_> = (0..13).map(|_| client.text()).collect();
        let (messages, acknowledgements): (Vec<_>, Vec<_>) =
            heard.iter().partition(|text| text.starts_with("42"));
        let expected =
            ["42[\"data\",\"a\",1]", "42[\"data\",\"a\",2]", "42[\"data\",\"b\",6]", "42[\"data\",\"b\",9]"];
        assert_eq!(messages, expected, "{way:?}");
        for (text, id) in acknowledgements.iter().zip(1..=9) {
            assert!(
                text.starts_with(&format!("43{id}")) && text.contains("invalid_room") == (id == 3),
                "{text}"
            );
        }
        for id in [1, 2, 6, 9] {
            let message = heard.iter().position(|text| text.ends_with(&format!(",{id}]")));
            let acknowledgement = heard.iter().position(|text| *text == format!("43{id}[]"));
            assert!(message < acknowledgement, "{way:?}: {heard:?}");
        }
        client.assert_silence();
    }
}

#[test]
fn of_what_comes_at_once_a_slow_client_gets_what_fits() {
    const MESSAGES: u32 = 100;
    let daemon = Daemon::start(&["--set", "limits.send_queue=2 KB", "--set", "limits.slow_consumer=drop"]);
    let mut slow = Client::connect(daemon.address, Way::Polling4);
    slow.subscribe("\"r\"");
    let mut publisher = Client::connect(daemon.address, Way::Polling4);
    let events: Vec<_> =
        (0..MESSAGES).map(|n| Packet::Text(format!("42[\"publish\",\"r\",\"{n:050}\"]").into())).collect();
    publisher.send_all(&events);
    publisher.assert_silence();
    slow.send("421[\"subscribe\",\"end\"]");
    let mut got = 0;
    loop {
        let text = slow.text();
        if text == "431[]" {
            break;
        }
        assert_eq!(text, format!("42[\"data\",\"r\",\"{got:050}\"]"));
        got += 1;
    }
    assert!((10..MESSAGES / 2).contains(&got), "{got}");
    let dropped = "humble_broker_messages_dropped_total{reason=\"slow_consumer\"}";
    daemon.await_metric(dropped, f64::from(MESSAGES - got));
}
