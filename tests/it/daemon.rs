//! The life of the process: what it starts with, and what it says.

use nix::sys::signal::Signal;

use crate::support::Daemon;
use crate::support::daemon::command;

#[test]
fn a_port_that_is_taken_ends_with_69_and_leaves_nothing_half_started() {
    let daemon = Daemon::start(&[]);
    let port = daemon.address.port().to_string();
    let taken = format!("127.0.0.1:{port}");
    for arguments in [
        vec!["--host", "127.0.0.1", "--port", &port],
        vec!["--host", "127.0.0.1", "--port", "0", "--admin-listen", &taken],
    ] {
        let output = command().args(&arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{error}");
        assert!(error.contains(&format!("cannot listen on {taken}: ")), "{error}");
    }
}

#[test]
fn the_log_can_be_json_and_its_level_chosen() {
    let mut daemon = Daemon::start(&["--set", "log.format=json"]);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let log = daemon.log();
    assert!(log.lines().count() >= 3);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "INFO");
        assert!(line["message"].is_string() && line["timestamp"].is_string());
    }
    let mut daemon = Daemon::start(&["--log-level", "warn"]);
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert_eq!(daemon.log(), "");
}

#[test]
fn ipv6_and_names_are_listened_on() {
    for host in ["::1", "localhost"] {
        let daemon = Daemon::start(&["--host", host]);
        assert!(daemon.address.ip().is_loopback());
        assert_eq!(crate::support::http::get(daemon.address, "/healthz").status, 200);
    }
}

#[test]
fn a_hangup_does_not_end_it() {
    let mut daemon = Daemon::start(&[]);
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
}
