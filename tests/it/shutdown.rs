//! The end: sessions end as clients need it to come back, and what was accepted is delivered.

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;

#[test]
fn a_websocket_ends_with_1001_and_nothing_that_keeps_clients_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(&[]);
        let mut clients = [Way::WebSocket3, Way::WebSocket4, Way::Upgrade3, Way::Upgrade4]
            .map(|way| Client::connect(daemon.address, way));
        daemon.signal(signal);
        for client in &mut clients {
            // Neither `41` nor `1` before it.
            assert_eq!(client.socket().next(), Incoming::Close(Some(1001)));
            assert_eq!(client.socket().next(), Incoming::End);
        }
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
}

#[test]
fn a_polling_client_gets_what_is_queued_and_then_400() {
    let mut daemon = Daemon::start(&[]);
    for way in [Way::Polling3, Way::Polling4] {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        for n in 0..40 {
            client.emit(&format!("[\"publish\",\"r\",{n}]"));
        }
        let mut waiting = Client::connect(daemon.address, way);
        let mut poll = http::connect(daemon.address);
        http::send(&mut poll, "GET", &waiting.polling_target(), &[], b"");
        if way == Way::Polling4 {
            daemon.signal(Signal::SIGTERM);
            assert_eq!(http::receive(&mut poll).status, 400, "a poll that waits is the next poll");
            for n in 0..40 {
                client.expect(&format!("[\"data\",\"r\",{n}]"));
            }
            assert_eq!(http::get(daemon.address, &client.polling_target()).status, 400);
        } else {
            waiting.emit("[\"subscribe\",\"x\"]");
            waiting.send("41");
            client.send("1");
            waiting.send("1");
        }
    }
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn everything_accepted_is_delivered_before_the_end() {
    let mut daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let mut subscribers = Way::ALL.map(|way| Client::connect(daemon.address, way));
    for subscriber in &mut subscribers {
        subscriber.subscribe("\"r\"");
    }
    let filler = "x".repeat(1_000);
    for n in 0..1_000 {
        publisher.emit(&format!("[\"publish\",\"r\",[{n},\"{filler}\"]]"));
    }
    assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
    daemon.signal(Signal::SIGTERM);
    std::thread::scope(|scope| {
        for subscriber in &mut subscribers {
            let filler = &filler;
            scope.spawn(move || {
                for n in 0..1_000 {
                    subscriber.expect(&format!("[\"data\",\"r\",[{n},\"{filler}\"]]"));
                }
            });
        }
    });
    for subscriber in subscribers {
        if let Ok(id) = std::panic::catch_unwind(|| subscriber.polling_target()) {
            assert_eq!(http::get(daemon.address, &id).status, 400);
        }
    }
    drop(publisher);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn an_event_during_the_end_is_refused_as_shutting_down() {
    let mut daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    daemon.signal(Signal::SIGTERM);
    // Answered as usual until the session is being ended, and refused until the connection closes.
    let mut id = 0;
    let refusal = loop {
        id += 1;
        client.send(&format!("42{id}[\"subscribe\",\"r\"]"));
        let arguments = client.acknowledgement(id);
        if arguments != "[]" {
            break arguments;
        }
    };
    assert!(refusal.starts_with("[{\"error\":\"shutting_down\",\"message\":\""), "{refusal}");
    drop(client);
    assert!(daemon.wait().success());
}

#[test]
fn nobody_new_is_let_in_during_the_end() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=30s"]);
    // It does not poll, so the drain waits for it.
    let old = Client::connect(daemon.address, Way::Polling4);
    let mut open =
        [Client::open(daemon.address, Way::WebSocket4), Client::open(daemon.address, Way::WebSocket4)];
    daemon.signal(Signal::SIGTERM);
    loop {
        let ready = http::get(daemon.admin, "/readyz");
        if ready.status == 503 {
            assert_eq!(ready.text(), "[\"draining\"]");
            break;
        }
    }
    assert_eq!(http::get(daemon.admin, "/healthz").status, 200);
    let refused = http::get(daemon.address, &Way::Polling4.target("polling"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    for socket in &mut open {
        // A CONNECT that comes after the drain began closes the transport, without a refusal.
        socket.socket().send("40");
        assert_eq!(socket.socket().next(), Incoming::Close(Some(1001)));
    }
    assert_eq!(http::get(daemon.address, &old.polling_target()).status, 400);
    assert!(daemon.wait().success());
}

#[test]
fn a_drain_that_runs_out_of_time_ends_all_the_same() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=300ms"]);
    let _silent = Client::connect(daemon.address, Way::Polling4);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(daemon.log().contains("run out of time"), "{}", daemon.log());
}

#[test]
fn a_polling_client_that_is_gone_without_a_word_is_not_waited_for() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=10m"]);
    let _silent = [Way::Polling3, Way::Polling4].map(|way| Client::connect(daemon.address, way));
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn clients_that_left_before_they_connected_are_not_waited_for() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=10m", "--set", "socketio.connect_timeout=10m"]);
    drop(Client::open(daemon.address, Way::WebSocket4));
    Client::open(daemon.address, Way::Polling4).send("1");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("cutting off"), "{}", daemon.log());
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let mut daemon = Daemon::start(&["--set", "drain.timeout=10m"]);
    let _silent = Client::connect(daemon.address, Way::Polling4);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.notification().is_some_and(|state| state.contains("STOPPING=1")));
    daemon.signal(Signal::SIGINT);
    assert!(daemon.wait().success());
    assert!(daemon.log().contains("SIGINT again"), "{}", daemon.log());
}
