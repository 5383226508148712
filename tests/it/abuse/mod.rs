//! The abuse suite: what hostile clients do, what they are told, and that nobody else notices.
//!
//! Each probe runs as rounds against the real daemon while a bystander publishes and listens. It
//! asserts what the hostile client itself sees. The runner asserts the rest: the bystander gets
//! every message, in order and soon; no session, file descriptor or task is left over; and a
//! second round does not make the daemon grow.

mod floods;
mod frames;
mod heads;
mod packed;
mod packets;
mod payloads;
mod sessions;
mod upgrades;

use std::collections::HashSet;
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::Instant;

use humble_broker::protocol::Encoding;
use humble_broker::protocol::Generation;

use crate::support::Bystander;
use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Vitals;
use crate::support::Way;
use crate::support::http;
use crate::support::websocket::Incoming;
use crate::support::websocket::WebSocket;

/// Probes that share a daemon.
struct Group {
    encoding: Encoding,
    /// What the daemon is started with beside [`TERMS`].
    settings: &'static [&'static str],
    probes: &'static [Probe],
}

/// One kind of abuse.
struct Probe {
    name: &'static str,
    /// The ways to connect by which it is done.
    ways: &'static [Way],
    /// How often it is done in a round, by each way.
    times: usize,
    /// Does it once, and asserts what the client is told.
    act: fn(&Daemon, Way),
}

/// Deadlines that are short, so that what is abandoned is gone soon.
const TERMS: [&str; 6] = [
    "socketio.ping_interval=800ms",
    "socketio.ping_timeout=2500ms",
    "socketio.connect_timeout=800ms",
    "socketio.upgrade_timeout=800ms",
    "limits.header_timeout=800ms",
    "limits.max_payload=200 kB",
];

/// Ways that end at a WebSocket.
const WEBSOCKET: &[Way] = &[Way::WebSocket3, Way::WebSocket4, Way::Upgrade4];
/// Ways that poll.
const POLLING: &[Way] = &[Way::Polling3, Way::Polling4];
/// One way for what no session comes into.
const ANY: &[Way] = &[Way::Polling4];
/// How much the daemon may grow in a second round, in percent.
const GROWTH: u64 = 10;
/// Rounds that a probe may take to show that it has stopped growing: allocators are lazy.
const ROUNDS: usize = 4;

const GROUPS: [&Group; 8] = [
    &floods::GROUP,
    &frames::GROUP,
    &heads::GROUP,
    &packed::GROUP,
    &packets::GROUP,
    &payloads::GROUP,
    &sessions::GROUP,
    &upgrades::GROUP,
];

#[test]
fn there_are_at_least_forty_probes_and_none_twice() {
    let names: Vec<_> = GROUPS.iter().flat_map(|group| group.probes).map(|probe| probe.name).collect();
    assert!(names.len() >= 40, "{} probes", names.len());
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    for probe in GROUPS.iter().flat_map(|group| group.probes) {
        assert!(!probe.ways.is_empty() && probe.times > 0, "{} is never done", probe.name);
    }
}

impl Group {
    /// Runs every probe, and panics with all that went wrong.
    fn run(&self) {
        let mut arguments = Vec::new();
        for setting in TERMS.iter().chain(self.settings) {
            arguments.extend(["--set", setting]);
        }
        let daemon = Daemon::start(&arguments);
        let bystander = Bystander::start_with(daemon.address, self.encoding);
        let before = Vitals::most(&daemon);
        let mut faults = Vec::new();
        for probe in self.probes {
            let began = Instant::now();
            let outcome = probe.run(&daemon, before);
            let outcome = outcome.and_then(|()| bystander.verdict().map(drop));
            // Shown when the test fails, or with `--nocapture`.
            eprintln!("{:>6.2?} {}", began.elapsed(), probe.name);
            if let Err(fault) = outcome {
                faults.push(format!("{}: {fault}", probe.name));
            }
        }
        assert!(daemon.metric("humble_broker_panics_total").abs() < f64::EPSILON, "an event made us panic");
        assert!(!daemon.log().contains("panicked"), "a task has panicked");
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
        bystander.finish();
    }
}

impl Probe {
    /// Does rounds until one leaves nothing behind that the round before it had not.
    fn run(&self, daemon: &Daemon, before: Vitals) -> Result<(), String> {
        let mut last = None;
        let mut seen = Vec::new();
        for _ in 0..ROUNDS {
            self.round(daemon)?;
            let after = before
                .await_again(daemon)
                .map_err(|least| format!("left behind: {before:?} has become {least:?}"))?;
            seen.push(after.memory);
            if last.is_some_and(|last| after.memory * 100 <= last * (100 + GROWTH)) {
                return Ok(());
            }
            last = Some(after.memory);
        }
        Err(format!("the daemon grows with each round, KiB: {seen:?}"))
    }

    fn round(&self, daemon: &Daemon) -> Result<(), String> {
        for way in self.ways {
            for _ in 0..self.times {
                catch_unwind(AssertUnwindSafe(|| (self.act)(daemon, *way))).map_err(|panic| {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                    format!("{way:?}: {}", text.unwrap_or("a panic without a text"))
                })?;
            }
        }
        Ok(())
    }
}

/// How the daemon ends a WebSocket: a close frame and the end, or just the end.
fn ending(socket: &mut WebSocket) -> Incoming {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < DEADLINE, "the session goes on");
        match socket.next() {
            close @ Incoming::Close(_) => {
                assert_eq!(socket.next(), Incoming::End, "after a close frame comes the end");
                return close;
            }
            Incoming::End => return Incoming::End,
            // Answered, so that a session which is not ended does not seem to be, by its heartbeat.
            Incoming::Text(ping) if ping == "2" => socket.send("3"),
            _ => {}
        }
    }
}

/// Asserts that the daemon has ended the client's session.
fn assert_ended(daemon: &Daemon, client: &mut Client) {
    match client.way() {
        Way::Polling3 | Way::Polling4 => {
            // What had been queued may still come, and the end right behind it.
            let began = Instant::now();
            loop {
                let response = http::get(daemon.address, &client.polling_target());
                if response.status == 400 {
                    return;
                }
                assert!(began.elapsed() < DEADLINE, "the session goes on: {}", response.text());
                if response.text() == "2" {
                    post(daemon, client, "3");
                }
            }
        }
        _ => {
            ending(client.socket());
        }
    }
}

/// Sends an Engine.IO packet of text as it is, over either transport; a refusal is for the caller.
fn say(daemon: &Daemon, client: &mut Client, packet: &str) {
    match client.way() {
        Way::Polling3 => post(daemon, client, &format!("{}:{packet}", packet.encode_utf16().count())),
        Way::Polling4 => post(daemon, client, packet),
        _ => {
            client.socket().send(packet);
            200
        }
    };
}

/// Sends these packets, many in one body or write, so that the daemon gets them at once.
fn say_all<'a>(daemon: &Daemon, client: &mut Client, packets: impl Iterator<Item = String> + 'a) {
    let packets: Vec<_> = packets.collect();
    match client.way() {
        Way::Polling3 | Way::Polling4 => {
            for packets in packets.chunks(1_000) {
                let body = match client.way().generation() {
                    Generation::V4 => packets.join("\x1e"),
                    Generation::V3 => packets.iter().fold(String::new(), |mut body, packet| {
                        write!(body, "{}:{packet}", packet.encode_utf16().count()).unwrap();
                        body
                    }),
                };
                assert_eq!(post(daemon, client, &body), 200);
            }
        }
        _ => packets.iter().for_each(|packet| client.socket().send(packet)),
    }
}

/// Sends a body as it is, and returns the status of the answer.
fn post(daemon: &Daemon, client: &Client, body: &str) -> u16 {
    post_bytes(daemon, client, &[], body.as_bytes())
}

/// Sends any body with these headers, and returns the status of the answer.
fn post_bytes(daemon: &Daemon, client: &Client, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    http::request(daemon.address, "POST", &client.polling_target(), headers, body).status
}

/// Takes leave of the daemon, so that a session that polls does not have to time out.
fn leave(daemon: &Daemon, client: Client) {
    match client.way() {
        Way::Polling3 => {
            post(daemon, &client, "1:1");
        }
        Way::Polling4 => {
            post(daemon, &client, "1");
        }
        _ => drop(client),
    }
}
