//! Order, and that nothing is lost: early, in bursts, among many.

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

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
