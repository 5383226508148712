//! Upgrades from polling to WebSocket: those that succeed lose nothing, those that fail cost nothing.

use humble_broker::wire::frame;

use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::http;
use crate::support::proxy;
use crate::support::proxy::Direction;
use crate::support::proxy::Fault;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

const POLLING: [Way; 2] = [Way::Polling3, Way::Polling4];

#[test]
fn an_upgrade_that_breaks_or_hangs_leaves_the_polling_session_as_it_was() {
    // Where the proxy strikes: at a text from this side, passing it on or not.
    let places: [(Direction, &'static [u8], bool); 5] = [
        (Direction::FromClient, b"GET /socket.io/", false),
        (Direction::FromServer, b"101 Switching", false),
        (Direction::FromServer, b"101 Switching", true),
        (Direction::FromServer, b"3probe", false),
        (Direction::FromServer, b"3probe", true),
    ];
    let daemon = Daemon::start(&["--set", "socketio.upgrade_timeout=300ms"]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    for way in POLLING {
        for (direction, text, pass) in places {
            for fault in [Fault::Cut, Fault::Hang] {
                let case =
                    format!("{way:?} {direction:?} {:?} {pass} {fault:?}", String::from_utf8_lossy(text));
                let mut client = Client::connect(daemon.address, way);
                client.subscribe("\"r\"");
                let proxy = proxy::start(daemon.address, direction, text, pass, fault);
                let mut broken = http::connect(proxy);
                attempt(&mut broken, &client);
                for n in 0..5 {
                    assert_eq!(publisher.ask(&format!("[\"publish\",\"r\",{n}]")), "[]", "{case}");
                    client.expect(&format!("[\"data\",\"r\",{n}]"));
                }
                assert_eq!(client.ask("[\"unsubscribe\",\"r\"]"), "[]", "{case}");
                drop(broken);
                client.assert_silence();
            }
        }
    }
}

/// Sends a WebSocket handshake for the client's session and the probe, whatever becomes of them.
fn attempt(stream: &mut std::net::TcpStream, client: &Client) {
    use std::io::Write;
    let target = client.polling_target().replace("transport=polling", "transport=websocket");
    let mut bytes = bytes::BytesMut::from(
        format!(
            "GET {target} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .as_bytes(),
    );
    frame::put_masked(&mut bytes, frame::TEXT, b"2probe");
    stream.write_all(&bytes).unwrap();
}

#[test]
fn a_session_can_upgrade_after_an_upgrade_that_failed() {
    let daemon = Daemon::start(&[]);
    for way in POLLING {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        for sent in [&[][..], &["2probe"], &["2"], &["5"], &["40"], &["2probe", "2probe"], &["2probe", "4x"]]
        {
            let mut socket = client.open_upgrade(daemon.address);
            for packet in sent {
                socket.send(packet);
            }
            if sent.len() == 2 {
                assert_eq!(socket.text(), "3probe");
            }
            if sent.is_empty() || sent == ["2probe"] {
                drop(socket);
            } else {
                assert_eq!(socket.next(), Incoming::End, "{sent:?}");
            }
            client.emit("[\"publish\",\"r\",\"still here\"]");
            client.expect("[\"data\",\"r\",\"still here\"]");
        }
        // The daemon notices a socket that was dropped a moment later.
        let target = client.polling_target().replace("transport=polling", "transport=websocket");
        let mut socket = loop {
            if let Ok(socket) = WebSocket::try_open(daemon.address, &target) {
                break socket;
            }
        };
        socket.send("2probe");
        assert_eq!(socket.text(), "3probe");
        socket.send("5");
        client.switch(socket);
        client.emit("[\"publish\",\"r\",\"upgraded\"]");
        client.expect("[\"data\",\"r\",\"upgraded\"]");
        client.assert_silence();
    }
}

#[test]
fn nothing_is_lost_or_reordered_when_a_session_upgrades_under_load() {
    let daemon = Daemon::start(&["--set", "limits.max_payload=20 kB"]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    let filler = "x".repeat(9_000);
    for way in POLLING {
        for taken in [0, 1, 20, 39] {
            let mut client = Client::connect(daemon.address, way);
            client.subscribe("\"r\"");
            // Small ones fill a response by number, large ones by size: some are held back by us,
            // some by the library, when the client changes over.
            for n in 0..40 {
                let message = if n % 3 == 0 { format!("[{n},\"{filler}\"]") } else { format!("[{n}]") };
                publisher.emit(&format!("[\"publish\",\"r\",{message}]"));
            }
            assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
            for n in 0..taken {
                assert_eq!(number(&client.text()), n, "{way:?}, upgrade after {taken}");
            }
            client.upgrade();
            publisher.emit("[\"publish\",\"r\",[40]]");
            client.emit("[\"publish\",\"r\",[41]]");
            let mut rest: Vec<_> = (taken..42).map(|_| number(&client.text())).collect();
            // Between publishers no order is promised.
            let tail = rest.split_off(rest.len() - 2);
            assert_eq!(rest, (taken..40).collect::<Vec<_>>(), "{way:?}, upgrade after {taken}");
            assert_eq!(tail.iter().sum::<usize>(), 81);
            client.send("41");
        }
    }
}

#[test]
fn binary_messages_survive_the_change_of_transport() {
    let daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    for way in POLLING {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        let event = "[\"publish\",\"r\",{\"_placeholder\":true,\"num\":0}]";
        let data = event.replace("publish", "data");
        for n in 0..20u8 {
            publisher.emit_binary(event, &[&[n, 0xff]]);
        }
        assert_eq!(publisher.ask("[\"unsubscribe\",0]"), "[]");
        client.expect_binary(&data, &[&[0, 0xff]]);
        client.upgrade();
        for n in 1..20u8 {
            client.expect_binary(&data, &[&[n, 0xff]]);
        }
    }
}

#[test]
fn what_is_sent_right_behind_the_upgrade_is_not_lost() {
    let daemon = Daemon::start(&[]);
    for way in POLLING {
        let mut client = Client::connect(daemon.address, way);
        let mut socket = client.open_upgrade(daemon.address);
        let mut bytes = bytes::BytesMut::new();
        socket.send("2probe");
        assert_eq!(socket.text(), "3probe");
        for packet in ["5", "42[\"subscribe\",\"r\"]", "42[\"publish\",\"r\",1]", "42[\"publish\",\"r\",2]"] {
            frame::put_masked(&mut bytes, frame::TEXT, packet.as_bytes());
        }
        socket.send_raw(&bytes);
        client.switch(socket);
        client.expect("[\"data\",\"r\",1]");
        client.expect("[\"data\",\"r\",2]");
    }
}

#[test]
fn a_poll_that_waits_is_answered_when_the_probe_comes() {
    let daemon = Daemon::start(&[]);
    for (way, noop) in [(Way::Polling3, "1:6"), (Way::Polling4, "6")] {
        let client = Client::connect(daemon.address, way);
        let mut poll = http::connect(daemon.address);
        http::send(&mut poll, "GET", &client.polling_target(), &[], b"");
        let mut socket = client.open_upgrade(daemon.address);
        socket.send("2probe");
        assert_eq!(socket.text(), "3probe");
        assert_eq!(http::receive(&mut poll).text(), noop);
    }
}

#[test]
fn a_session_upgrades_once_and_one_at_a_time() {
    let daemon = Daemon::start(&[]);
    let mut client = Client::connect(daemon.address, Way::Polling4);
    let target = client.polling_target();
    let upgrade = target.replace("transport=polling", "transport=websocket");
    let mut socket = client.open_upgrade(daemon.address);
    assert!(WebSocket::try_open(daemon.address, &upgrade).is_err_and(|status| status.contains("400")));
    socket.send("2probe");
    assert_eq!(socket.text(), "3probe");
    socket.send("5");
    client.switch(socket);
    client.assert_silence();
    assert!(WebSocket::try_open(daemon.address, &upgrade).is_err_and(|status| status.contains("400")));
    assert_eq!(http::get(daemon.address, &target).status, 400, "a session that has upgraded does not poll");
    client.assert_silence();
}

fn number(packet: &str) -> usize {
    let digits = packet.split('[').nth(2).unwrap_or_else(|| panic!("{packet}"));
    digits.split([',', ']']).next().unwrap().parse().unwrap()
}

#[test]
fn a_post_that_an_upgrade_has_left_behind_does_not_end_the_session() {
    let daemon = Daemon::start(&[]);
    let mut publisher = Client::connect(daemon.address, Way::WebSocket4);
    for (way, body, rest) in [
        (Way::Polling4, "1", Some("1")),
        (Way::Polling3, "1:1", Some("1:1")),
        (Way::Polling4, "40", None),
        (Way::Polling3, "2:40", None),
    ] {
        let mut client = Client::connect(daemon.address, way);
        client.subscribe("\"r\"");
        let mut post = http::connect(daemon.address);
        let head = format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len());
        http::ask(&mut post, "POST", &client.polling_target(), &head);
        // The daemon says this when it waits for the body.
        assert_eq!(http::receive_one(&mut post).status, 100);
        client.upgrade();
        publisher.emit("[\"publish\",\"r\",1]");
        client.expect("[\"data\",\"r\",1]");
        if let Some(rest) = rest {
            std::io::Write::write_all(&mut post, rest.as_bytes()).unwrap();
            assert_eq!(http::receive_one(&mut post).status, 400, "{way:?}");
        } else {
            post.shutdown(std::net::Shutdown::Write).unwrap();
            http::rest(&mut post);
        }
        drop(post);
        assert_eq!(publisher.ask("[\"publish\",\"r\",2]"), "[]");
        client.expect("[\"data\",\"r\",2]");
        client.assert_silence();
    }
}

#[test]
fn a_session_that_ends_while_it_upgrades_is_counted_out_once() {
    let daemon = Daemon::start(&[]);
    for way in POLLING {
        let mut client = Client::connect(daemon.address, way);
        let mut socket = client.open_upgrade(daemon.address);
        socket.send("2probe");
        assert_eq!(socket.text(), "3probe");
        client.send("1");
        socket.send("5");
        assert_eq!(socket.next(), Incoming::End);
    }
    for protocol in [3, 4] {
        for transport in ["polling", "websocket"] {
            let name =
                format!("humble_broker_connections{{transport=\"{transport}\",protocol=\"{protocol}\"}}");
            daemon.await_metric(&name, 0.0);
        }
    }
}
