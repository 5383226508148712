//! Every mode, briefly, against the real daemon; and the floor.
//!
//! The daemon is `BROKER_BIN`, or else the one that `cargo build` leaves at the root.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_socketio-bench");
const DEADLINE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// The daemon, on a free port.
    fn daemon(settings: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/socketio-humble-broker");
        let program = std::env::var_os("BROKER_BIN").map_or(built, PathBuf::from);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("socketio-bench-{}-{number}", std::process::id()));
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        let child = Command::new(&program)
            .args(["--host", "127.0.0.1", "--port", "0", "--log-level", "warn"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env("NOTIFY_SOCKET", &socket)
            .spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{}: {error}; `cargo build` it first", program.display()));
        let mut server = Self { child, address: String::new() };
        let mut text = [0; 4096];
        let length = manager.recv(&mut text).expect("the daemon does not say that it is ready");
        std::fs::remove_file(socket).unwrap();
        let text = str::from_utf8(&text[..length]).unwrap();
        let listens = text.lines().find_map(|line| line.strip_prefix("X_LISTEN=")).unwrap();
        listens.clone_into(&mut server.address);
        server
    }

    /// The example `name`, on a free port.
    fn example(name: &str) -> Self {
        let program = Path::new(BENCH).with_file_name("examples").join(name);
        let mut child = Command::new(&program).arg("0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().to_owned() }
    }

    /// Runs the program against it with these arguments, `MODE` first.
    fn bench(&self, arguments: &str) -> (ExitStatus, Value) {
        let (mode, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let pid = self.child.id().to_string();
        let output = Command::new(BENCH)
            .args([mode, &self.address, "--json", "--pid", &pid])
            .args(rest.split_whitespace())
            .output()
            .unwrap();
        let fault = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout);
        (output.status, report.unwrap_or_else(|error| panic!("{arguments}: {error}: {fault}")))
    }

    /// As `bench`, where all is well; the figures `keys` are more than 0.
    fn measures(&self, arguments: &str, keys: &[&str]) -> Value {
        let (status, report) = self.bench(arguments);
        assert!(status.success(), "{arguments}: {status}: {report}");
        for key in keys {
            assert!(report[key].as_f64().unwrap_or_default() > 0.0, "{arguments}: {key}: {report}");
        }
        report
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DELIVERED: [&str; 5] =
    ["deliveries_per_second", "expected", "latency_p99", "server_cpu_per_delivery", "server_memory"];

#[test]
fn a_fan_out_reaches_clients_of_every_transport_and_version() {
    let daemon = Server::daemon(&[]);
    for engine in [3, 4] {
        for transport in ["websocket", "polling", "upgrade"] {
            let common =
                format!("fanout --transport {transport} --engine {engine} --readers 20 --warm-up 0.1");
            daemon.measures(&format!("{common} --seconds 0.5 --window 4 --publishers 3"), &DELIVERED);
        }
    }
}

#[test]
fn messages_go_at_a_rate_or_in_a_number() {
    let daemon = Server::daemon(&[]);
    let report = daemon.measures("fanout --readers 5 --rate 200 --warm-up 0 --seconds 1", &DELIVERED);
    let rate = report["publishes_per_second"].as_f64().unwrap();
    assert!((150.0..=250.0).contains(&rate), "{report}");
    let report = daemon.measures("fanout --readers 5 --messages 300 --window 300 --size 3000", &DELIVERED);
    assert_eq!(report["expected"], 1500, "{report}");
}

#[test]
fn rooms_hear_what_is_theirs() {
    let daemon = Server::daemon(&[]);
    daemon.measures(
        "rooms --rooms 30 --readers 3 --publishers 4 --window 8 --seconds 0.5 --warm-up 0.1",
        &DELIVERED,
    );
}

#[test]
fn connections_are_counted_and_weighed() {
    let daemon = Server::daemon(&[]);
    daemon.measures(
        "connect --clients 200",
        &["connections_per_second", "connected_p99", "server_cpu_per_connection"],
    );
    let report = daemon.measures("connect --clients 50 --subscribed --transport upgrade", &["connected_p50"]);
    assert_eq!(report["connections_missing"], 0, "{report}");
    daemon.measures("idle --clients 300 --settle 0.2 --subscribed", &["server_memory_per_connection"]);
}

#[test]
fn clients_that_come_and_go_are_counted_beside_a_bystander() {
    let daemon = Server::daemon(&[]);
    let report = daemon.measures(
        "churn --clients 20 --rate 40 --seconds 1 --quiet 0.5",
        &["bystander_p99", "bystander_quiet_p99", "server_cpu_per_client"],
    );
    assert_eq!(
        (&report["clients_that_came"], &report["clients_missing"]),
        (&40.into(), &0.into()),
        "{report}"
    );
    let report = daemon.measures(
        "avalanche --clients 100 --quiet 0.5",
        &["bystander_p99", "back_after", "server_cpu_per_return"],
    );
    assert_eq!(report["clients_not_back"], 0, "{report}");
}

#[test]
fn readers_that_do_not_keep_up_cost_the_others_nothing() {
    // Whoever keeps up has two messages to take at most; the others soon have more than the system's buffers, and
    // what they have may still leave for two seconds.
    let daemon = Server::daemon(&["limits.send_queue=300 kB"]);
    let report = daemon.measures(
        "slow --readers 5 --slow 6 --size 50000 --window 2 --seconds 6",
        &["expected", "slow_readers_closed", "server_memory_most"],
    );
    assert!(report["slow_readers_closed"].as_u64().unwrap() <= 6, "{report}");
}

#[test]
fn what_is_lost_is_told() {
    // Of what is published beyond that, nothing is delivered.
    let daemon = Server::daemon(&["limits.events_per_second=20"]);
    let (status, report) = daemon.bench("fanout --readers 3 --messages 100 --window 100 --patience 1");
    assert_eq!(status.code(), Some(3), "{report}");
    let (expected, missing) = (report["expected"].as_u64().unwrap(), report["missing"].as_u64().unwrap());
    assert!(expected == 300 && missing > 0 && missing < expected, "{report}");
}

#[test]
fn who_cannot_connect_is_told_why() {
    let output = Command::new(BENCH).args(["fanout", "127.0.0.1:1", "--patience", "1"]).output().unwrap();
    let fault = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{fault}");
    assert!(fault.contains("refused"), "{fault}");
}

#[test]
fn the_floor_delivers_too() {
    let floor = Server::example("floor");
    floor.measures("fanout --readers 20 --publishers 3 --window 2 --seconds 0.5 --warm-up 0.1", &DELIVERED);
    floor.measures("rooms --rooms 20 --readers 3 --size 70000 --seconds 0.5 --warm-up 0.1", &DELIVERED);
    floor.measures("connect --clients 100 --subscribed", &["connected_p99"]);
}

#[test]
fn the_bare_library_can_be_measured() {
    let bare = Server::example("bare");
    let (status, report) = bare.bench("fanout --readers 20 --window 2 --seconds 0.5 --warm-up 0.1");
    // It may lose what comes in the instant of connecting, even all that is published, as nothing follows what is
    // in flight. What is lost is told.
    let is_lost = ["missing", "out_of_order", "astray", "readers_lost"].iter().any(|key| report[*key] != 0);
    assert_eq!(status.code(), Some(if is_lost { 3 } else { 0 }), "{report}");
    assert!(is_lost || report["deliveries_per_second"].as_f64().unwrap() > 0.0, "{report}");
}
