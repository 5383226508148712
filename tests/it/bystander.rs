//! The bystander of other tests: that it would notice.

use std::time::Duration;
use std::time::Instant;

use humble_broker::protocol::Encoding;
use nix::sys::signal::Signal;

use crate::support::Bystander;
use crate::support::DEADLINE;
use crate::support::Daemon;
use crate::support::vitals::pause;

#[test]
fn a_bystander_whom_nobody_disturbs_is_content() {
    for (encoding, parser) in [(Encoding::Json, "json"), (Encoding::Msgpack, "msgpack")] {
        let daemon = Daemon::start(&["--set", &format!("socketio.parser={parser}")]);
        let bystander = Bystander::start_with(daemon.address, encoding);
        while bystander.check().messages < 40 {
            pause(Duration::from_millis(10));
        }
        let report = bystander.finish();
        assert!(report.messages > 40 && report.p50 <= report.p99 && report.p99 <= report.worst, "{report:?}");
    }
}

#[test]
fn a_bystander_notices_that_the_daemon_stands_still() {
    let daemon = Daemon::start(&[]);
    let bystander = Bystander::start(daemon.address);
    assert!(bystander.check().messages < 1_000);
    daemon.signal(Signal::SIGSTOP);
    // Longer than it may take by what a busy machine takes off, as time in which we did not run.
    pause(Duration::from_secs(3));
    daemon.signal(Signal::SIGCONT);
    let began = Instant::now();
    let fault = loop {
        match bystander.verdict() {
            Err(fault) => break fault,
            Ok(report) => assert!(began.elapsed() < DEADLINE, "{report:?}"),
        }
        pause(Duration::from_millis(10));
    };
    assert!(fault.contains("took"), "{fault}");
}
