//! The Socket.IO protocol document (revisions 4 and 5), sentence by sentence, on raw sockets.

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;

#[test]
fn a_client_of_revision_5_enters_a_namespace_with_connect() {
    let daemon = Daemon::start(&[]);
    for connect in ["40", "40/,", "40{}", "40{\"token\":\"secret\"}", "40/,{\"token\":1}"] {
        let mut client = Client::open(daemon.address, Way::WebSocket4);
        client.send(connect);
        let connected = client.text();
        let id = connected.strip_prefix("40{\"sid\":\"").and_then(|rest| rest.strip_suffix("\"}"));
        assert!(id.is_some_and(|id| id.len() == 16), "{connect}: {connected}");
    }
}

#[test]
fn a_client_of_revision_4_is_in_the_default_namespace_unasked() {
    let daemon = Daemon::start(&[]);
    for way in [Way::WebSocket3, Way::Polling3] {
        let mut client = Client::open(daemon.address, way);
        assert_eq!(client.text(), "40");
        client.assert_silence();
    }
}

#[test]
fn an_unknown_namespace_is_refused_and_harms_nothing() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    for (connect, refusal) in [
        ("40/admin", "44/admin,{\"message\":\"Invalid namespace\"}"),
        ("40/admin,", "44/admin,{\"message\":\"Invalid namespace\"}"),
        ("40/admin,{\"token\":1}", "44/admin,{\"message\":\"Invalid namespace\"}"),
        ("40/é,", "44/é,{\"message\":\"Invalid namespace\"}"),
    ] {
        client.send(connect);
        assert_eq!(client.text(), refusal);
    }
    client.assert_silence();
    // Revision 4, whose clients ask for other namespaces than the default one in the same way.
    let mut client = Client::connect(daemon.address, Way::WebSocket3);
    client.send("40/admin");
    assert!(client.text().starts_with("44/admin,"));
    client.assert_silence();
}

#[test]
fn events_of_a_namespace_one_is_not_in_reach_nobody() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe("\"r\"");
    client.send("42/admin,[\"publish\",\"r\",1]");
    client.assert_silence();
}

#[test]
fn a_client_can_leave_the_namespace_and_enter_it_again() {
    let daemon = Daemon::start(&[]);
    for way in [Way::WebSocket4, Way::Polling4] {
        let mut other = Client::connect(daemon.address, Way::WebSocket4);
        other.subscribe("\"r\"");
        for _ in 0..50 {
            let mut client = Client::connect(daemon.address, way);
            client.subscribe("\"r\"");
            client.send("41");
            client.send("40");
            // The library ignores a CONNECT until it is done with the one before, which on a busy machine
            // takes longer than a client does; and a second one, once it has taken the first.
            other.assert_silence();
            client.send("40");
            assert!(client.text().starts_with("40{\"sid\":\""));
            assert_eq!(client.ask("[\"publish\",\"r\",\"back\"]"), "[]");
            other.expect("[\"data\",\"r\",\"back\"]");
            // It has left its rooms with the namespace.
            client.assert_silence();
            client.send("41");
        }
    }
}

#[test]
fn a_second_connect_changes_nothing() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.subscribe("\"r\"");
    client.send("40");
    client.send("40");
    client.emit("[\"publish\",\"r\",1]");
    client.expect("[\"data\",\"r\",1]");
    client.assert_silence();
}

#[test]
fn acknowledgements_that_nobody_asked_for_are_ignored() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.send("430[]");
    client.send("43999[\"x\"]");
    client.assert_silence();
}

#[test]
fn an_event_before_connect_ends_the_session() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::open(daemon.address, Way::WebSocket4);
    client.send("42[\"publish\",\"r\",1]");
    while client.socket().next() != Incoming::End {}
}

#[test]
fn a_client_that_never_connects_is_closed() {
    let daemon = Daemon::start(&["--set", "socketio.connect_timeout=200ms"]);
    let mut client = Client::open(daemon.address, Way::WebSocket4);
    assert!(matches!(client.socket().next(), Incoming::Close(_)));
    let polling = Client::open(daemon.address, Way::Polling4);
    assert_eq!(http::get(daemon.address, &polling.polling_target()).status, 400);
}

#[test]
fn something_else_between_a_binary_event_and_its_attachments_ends_the_session() {
    let daemon = Daemon::start(&[]);
    for packet in
        ["42[\"subscribe\",\"r\"]", "41", "451-[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]"]
    {
        let mut client = Client::connect(daemon.address, Way::WebSocket4);
        client.send("451-[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]");
        client.send(packet);
        while client.socket().next() != Incoming::End {}
    }
    // Attachments that no event has announced.
    let mut client = Client::connect(daemon.address, Way::WebSocket4);
    client.socket().send_binary(b"stray");
    while client.socket().next() != Incoming::End {}
}

#[test]
fn session_ids_are_shown_to_nobody_else() {
    let daemon = Daemon::start(&["--log-level", "info"]);
    let mut client = Client::connect(daemon.address, Way::Polling4);
    let id = client.id().to_owned();
    let mut other = Client::connect(daemon.address, Way::WebSocket4);
    other.subscribe(&format!("\"{id}\""));
    client.emit(&format!("[\"publish\",\"{id}\",1]"));
    client.assert_silence();
    other.expect(&format!("[\"data\",\"{id}\",1]"));
    let metrics = http::get(daemon.admin, "/metrics").text();
    assert!(!metrics.contains(&id) && !daemon.log().contains(&id));
}
