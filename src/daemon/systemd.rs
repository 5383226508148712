//! The notifications that service managers, and our tests, wait for.

use sd_notify::NotifyState;

use crate::daemon::listeners::Bound;

/// The daemon serves, on these addresses.
pub(super) fn ready(bound: &Bound) {
    let status = format!("serving clients on {}, operators on {}", bound.public, bound.admin);
    let public = format!("X_LISTEN={}", bound.public);
    let admin = format!("X_ADMIN_LISTEN={}", bound.admin);
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(&status),
        NotifyState::Custom(&public),
        NotifyState::Custom(&admin),
    ]);
}

/// The daemon ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell; with one that is gone there is no help.
    let _ = sd_notify::notify(states);
}
