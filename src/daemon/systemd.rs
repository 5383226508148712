//! The notifications that service managers, and our tests, wait for.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::daemon::listeners::Bound;

/// How long the service manager is to be patient with a drain that has just reported.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest time between beats that makes sense; a millisecond is the finest time of the runtime.
const LEAST_PERIOD: Duration = Duration::from_millis(2);

/// The daemon serves, on these addresses.
pub(super) fn ready(bound: &Bound) {
    let public = format!("X_LISTEN={}", bound.public);
    let admin = format!("X_ADMIN_LISTEN={}", bound.admin);
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(&serving(bound)),
        NotifyState::Custom(&public),
        NotifyState::Custom(&admin),
    ]);
}

/// The daemon reads its configuration again; until [`reloaded`] nobody takes it for done.
pub(super) fn reloading() {
    let status = NotifyState::Status("reloading");
    match NotifyState::monotonic_usec_now() {
        // Without the time, newer versions of systemd would not know which reload this is the answer to.
        Ok(now) => notify(&[NotifyState::Reloading, now, status]),
        Err(_) => notify(&[status]),
    }
}

/// The reload is over, whether it has changed anything or not, and the daemon serves as before.
pub(super) fn reloaded(bound: &Bound) {
    notify(&[NotifyState::Ready, NotifyState::Status(&serving(bound))]);
}

/// How long the service manager waits for a beat before it takes the daemon for stuck, if it does.
pub(super) fn watchdog() -> Option<Duration> {
    // Nobody can beat in no time; and an interval of none is a panic.
    sd_notify::watchdog_enabled().filter(|period| *period >= LEAST_PERIOD)
}

/// The daemon works.
pub(super) fn beat() {
    notify(&[NotifyState::Watchdog]);
}

/// The daemon ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn serving(bound: &Bound) -> String {
    format!("serving clients on {}, operators on {}", bound.public, bound.admin)
}

/// The daemon is still draining, and `status` says how far it has come.
pub(super) fn draining(status: &str) {
    let patience = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(patience)]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell; with one that is gone there is no help.
    let _ = sd_notify::notify(states);
}
