//! The service manager: what it is told.

use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::Client;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::Way;

const BEAT: &str = "WATCHDOG=1\n";

/// A daemon whose service manager waits so many microseconds for a beat.
fn start_watched(period: u32, arguments: &[&str]) -> Daemon {
    Daemon::start_after(&format!("export WATCHDOG_USEC={period} WATCHDOG_PID=$$"), arguments)
}

#[test]
fn a_daemon_that_works_beats_in_half_the_time_it_has() {
    let daemon = start_watched(1_000_000, &[]);
    assert_eq!(daemon.notification().as_deref(), Some(BEAT), "at once");
    let began = Instant::now();
    for _ in 0..4 {
        assert_eq!(daemon.notification_within(Duration::from_secs(1)).as_deref(), Some(BEAT));
    }
    assert!(began.elapsed() > Duration::from_millis(1_500), "not more often than it must");
}

#[test]
fn a_daemon_that_drains_beats_on() {
    let daemon = start_watched(100_000, &["--set", "drain.timeout=10m"]);
    let _silent = Client::connect(daemon.address, Way::Polling4);
    daemon.signal(Signal::SIGTERM);
    while daemon.notification().unwrap() == BEAT {}
    let after: Vec<_> = (0..10).map(|_| daemon.notification().unwrap()).collect();
    assert!(after.iter().filter(|told| *told == BEAT).count() > 2, "{after:?}");
}

#[test]
fn nobody_beats_who_is_not_asked_to() {
    // Were any of these heeded, there would be a beat each millisecond.
    for variables in
        ["WATCHDOG_USEC=2000 WATCHDOG_PID=1", "WATCHDOG_USEC=0", "WATCHDOG_USEC=1", "WATCHDOG_USEC=x"]
    {
        let mut daemon = Daemon::start_after(&format!("export {variables}"), &[]);
        assert_eq!(Client::connect(daemon.address, Way::WebSocket4).ask("[\"subscribe\",\"r\"]"), "[]");
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.notification().unwrap().contains("STOPPING=1"), "{variables}");
        assert!(daemon.wait().success());
    }
}

/// For a release these are rooms like any other.
#[cfg(debug_assertions)]
#[test]
fn a_daemon_that_is_stuck_beats_no_more() {
    // A lock that is never given back, though another thread is free; and the only thread that serves.
    for (room, workers) in [("\\u0000hold", 2), ("\\u0000hang", 1)] {
        let mut daemon = start_watched(100_000, &["--set", &format!("server.workers={workers}")]);
        let mut client = Client::connect(daemon.address, Way::WebSocket4);
        assert_eq!(client.ask("[\"subscribe\",\"r\"]"), "[]");
        client.emit(&format!("[\"subscribe\",\"{room}\"]"));
        let began = Instant::now();
        while let Some(told) = daemon.notification_within(Duration::from_secs(2)) {
            assert_eq!(told, BEAT);
            assert!(began.elapsed() < DEADLINE, "{room}: it beats on");
        }
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
    }
}
