//! The bystander of other tests: that it would notice.

use std::time::Duration;

use humble_broker::protocol::Encoding;
use nix::sys::signal::Signal;

use crate::support::Bystander;
use crate::support::Daemon;
use crate::support::vitals::pause;

#[test]
fn a_bystander_whom_nobody_disturbs_is_content() {
    for (encoding, parser) in [(Encoding::Json, "json"), (Encoding::Msgpack, "msgpack")] {
        let daemon = Daemon::start(&["--set", &format!("socketio.parser={parser}")]);
        let bystander = Bystander::start_with(daemon.address, encoding);
        while bystander.check().messages < 40 {}
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
    pause(Duration::from_millis(1_400));
    daemon.signal(Signal::SIGCONT);
    while bystander.report().worst < Duration::from_secs(1) {}
    let verdict = bystander.verdict();
    assert!(verdict.as_ref().is_err_and(|fault| fault.contains("took")), "{verdict:?}");
}
