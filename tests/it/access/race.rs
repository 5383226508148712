//! Rights that come and go while clients do: nobody keeps one that has been taken.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

use super::revoked::ROLES;
use super::revoked::tokens;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Reloading;
use crate::support::Way;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

/// What one client of those that come and go has seen.
#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    secret: AtomicUsize,
    sessions: AtomicUsize,
}

/// Comes, asks for the room again and again, and goes, until it is `over`.
fn come_and_go(address: SocketAddr, token: &str, over: &AtomicBool, seen: &Seen) {
    while !over.load(SeqCst) {
        let mut socket = WebSocket::open(address, &Way::WebSocket4.target("websocket"));
        socket.send(&format!("40{{\"token\":\"{token}\"}}"));
        let mut connected = hear(&mut socket, "40{", seen);
        for id in 0..30 {
            if !connected {
                break;
            }
            socket.send(&format!("42{id}[\"subscribe\",\"room\"]"));
            connected = hear(&mut socket, &format!("43{id}["), seen);
        }
        seen.sessions.fetch_add(1, SeqCst);
    }
}

/// Reads up to an answer; whether there was one.
fn hear(socket: &mut WebSocket, answer: &str, seen: &Seen) -> bool {
    loop {
        match socket.next() {
            Incoming::Text(text) if text.starts_with(answer) => return true,
            Incoming::Text(text) => {
                seen.open.fetch_add(text.matches("open").count(), SeqCst);
                seen.secret.fetch_add(text.matches("secret").count(), SeqCst);
                if text == "2" {
                    socket.send("3");
                }
            }
            _ => return false,
        }
    }
}

#[test]
fn nobody_has_a_right_that_a_reload_has_taken_however_it_comes_and_asks() {
    let may = tokens(&[("alpha", "reader"), ("beta", "beta"), ("gamma", "writer")])
        + &ROLES.replace("\"news.*\"", "\"room\"")
        + "[access.roles.beta]\nsubscribe = { allow = ['*'] }\n";
    // Both ways of losing it: the role of one may not any more, and the other is nobody any more.
    let may_not = tokens(&[("alpha", "reader"), ("gamma", "writer")])
        + ROLES
        + "[access.roles.beta]\nsubscribe = { allow = ['*'] }\n";
    let node = Reloading::start(&may);
    let mut writer = Client::connect_as(node.daemon.address, Way::WebSocket4, "gamma").unwrap();
    let (over, seen, mut rounds) = (AtomicBool::new(false), Seen::default(), 0);
    std::thread::scope(|scope| {
        for token in ["alpha", "beta", "alpha", "beta"] {
            let (address, over, seen) = (node.daemon.address, &over, &seen);
            scope.spawn(move || come_and_go(address, token, over, seen));
        }
        let began = Instant::now();
        let stop = Stop(&over);
        while (began.elapsed() < Duration::from_secs(4) || rounds < 10) && began.elapsed() < DEADLINE {
            node.load(&may_not);
            for n in 0..5 {
                assert_eq!(writer.ask(&format!("[\"publish\",\"room\",\"secret {n}\"]")), "[]");
            }
            assert!(node.daemon.metric("humble_broker_rooms") < 0.5, "somebody is still there");
            node.load(&may);
            node.daemon.await_metric("humble_broker_rooms", 1.0);
            for n in 0..5 {
                assert_eq!(writer.ask(&format!("[\"publish\",\"room\",\"open {n}\"]")), "[]");
            }
            rounds += 1;
        }
        drop(stop);
    });
    let count = |count: &AtomicUsize| count.load(SeqCst);
    assert_eq!(count(&seen.secret), 0, "in {rounds} rounds");
    assert!(
        rounds >= 10 && count(&seen.sessions) > 10,
        "{rounds} rounds, {} sessions",
        count(&seen.sessions)
    );
    assert!(count(&seen.open) > 0, "nobody was ever in the room");
    assert!(!node.daemon.log().contains("panicked"));
}

/// Ends the others, even when this thread panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
