//! Health: what operators are told, also when clients leave the broker no rest.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;
use crate::support::daemon::command;
use crate::support::http;
use crate::support::websocket::WebSocket;

const EXHAUSTED: &str = "[\"connections_exhausted\"]";
/// What `--healthcheck` waits, and orchestrators seldom more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Places for clients, all of them taken.
const PLACES: usize = 24;
/// Messages that a client has on their way at once.
const BURST: usize = 32;
/// Bursts that have been delivered when the load is in full swing, and at least come between the
/// first question and the last.
const BURSTS: u64 = 100;

/// What goes on while the questions are asked.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    bursts: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    /// Publishes to itself as fast as it can.
    fn publish(&self, room: usize, mut client: Client) {
        client.subscribe(&format!("\"{room}\""));
        let socket = client.socket();
        let event = format!("42[\"publish\",\"{room}\",1]");
        while !self.ends.load(SeqCst) {
            (0..BURST).for_each(|_| socket.send(&event));
            let mut received = 0;
            while received < BURST {
                match socket.text().as_str() {
                    "2" => socket.send("3"),
                    text => {
                        assert_eq!(text, format!("42[\"data\",\"{room}\",1]"));
                        received += 1;
                    }
                }
            }
            self.bursts.fetch_add(1, SeqCst);
        }
    }

    /// Wants in, and is told each time that there is no place.
    fn knock(&self, address: SocketAddr) {
        while !self.ends.load(SeqCst) {
            let status = WebSocket::try_open(address, &Way::WebSocket4.target("websocket")).err();
            if self.ends.load(SeqCst) {
                return; // Those who had the places may have gone.
            }
            assert_eq!(status.as_deref(), Some("HTTP/1.1 503 Service Unavailable"));
            self.refused.fetch_add(1, SeqCst);
        }
    }

    /// Waits until this much has come of it, from now on.
    fn goes_on(&self, bursts: u64, refused: u64) {
        let (before, knocked) = (self.bursts.load(SeqCst), self.refused.load(SeqCst));
        let began = Instant::now();
        while self.bursts.load(SeqCst) < before + bursts || self.refused.load(SeqCst) < knocked + refused {
            assert!(began.elapsed() < DEADLINE, "the load does not go on");
            std::thread::yield_now();
        }
    }
}

/// Ends the load also when a test fails, as its threads are waited for.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.ends.store(true, SeqCst);
    }
}

/// What operators are told, and that they do not wait for long.
fn told(daemon: &Daemon, target: &str) -> (u16, String) {
    let began = Instant::now();
    let response = http::get(daemon.admin, target);
    assert!(began.elapsed() < PATIENCE, "{target} took {:?}", began.elapsed());
    (response.status, response.text())
}

/// The exit code of `--healthcheck`, and what it complains of.
fn health_check(daemon: &Daemon) -> (Option<i32>, String) {
    let admin = daemon.admin.to_string();
    let output = command().args(["--healthcheck", "--admin-listen", &admin]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn operators_are_answered_while_the_public_side_is_under_full_load() {
    let limit = format!("limits.connections={PLACES}");
    let daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0", "--set", &limit]);
    assert_eq!(told(&daemon, "/readyz"), (200, "ok".into()));
    let (load, address) = (Load::default(), daemon.address);
    std::thread::scope(|scope| {
        let ends = Ends(&load);
        let clients: Vec<_> = (0..PLACES).map(|_| Client::connect(daemon.address, Way::WebSocket4)).collect();
        for (room, client) in clients.into_iter().enumerate() {
            let load = &load;
            scope.spawn(move || load.publish(room, client));
        }
        for _ in 0..2 {
            scope.spawn(|| load.knock(address));
        }
        load.goes_on(BURSTS, 1);
        for _ in 0..25 {
            assert_eq!(told(&daemon, "/healthz"), (200, "ok".into()));
            assert_eq!(told(&daemon, "/readyz"), (503, EXHAUSTED.into()));
            load.goes_on(1, 0);
        }
        assert_eq!(health_check(&daemon), (Some(0), String::new()), "full is healthy");
        load.goes_on(BURSTS, 1);
        drop(ends);
    });
    // Who has gone makes place.
    let began = Instant::now();
    while told(&daemon, "/readyz") != (200, "ok".into()) {
        assert!(began.elapsed() < DEADLINE, "still not ready");
    }
}

#[test]
fn readiness_names_every_reason_and_health_has_none() {
    let settings = ["--set", "limits.connections=1", "--set", "drain.timeout=1m"];
    let mut daemon = Daemon::start(&[&["--admin-listen", "127.0.0.1:0"], &settings[..]].concat());
    assert_eq!(told(&daemon, "/readyz"), (200, "ok".into()));
    // It does not poll, so the drain waits for it. There is no place for another request of it before
    // the broker has seen its first connection go.
    let client = Client::open(daemon.address, Way::Polling4);
    let began = Instant::now();
    while told(&daemon, "/readyz") != (503, EXHAUSTED.into()) {
        assert!(began.elapsed() < DEADLINE, "still not exhausted");
    }
    daemon.signal(Signal::SIGTERM);
    while told(&daemon, "/readyz") != (503, "[\"draining\",\"connections_exhausted\"]".into()) {
        assert!(began.elapsed() < DEADLINE, "still not draining");
    }
    assert_eq!(told(&daemon, "/healthz"), (200, "ok".into()));
    assert_eq!(health_check(&daemon), (Some(0), String::new()), "whoever drains must not be killed");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    let (code, complaint) = health_check(&daemon);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("cannot ask"), "{complaint}");
    drop(client);
}

#[test]
fn a_daemon_that_hangs_is_not_healthy() {
    let daemon = Daemon::start(&["--admin-listen", "127.0.0.1:0"]);
    daemon.signal(Signal::SIGSTOP);
    let began = Instant::now();
    let (code, complaint) = health_check(&daemon);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(code, Some(1), "{complaint}");
    assert!(began.elapsed() >= PATIENCE && began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert_eq!(health_check(&daemon), (Some(0), String::new()));
}
