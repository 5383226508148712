//! The watchdog: a beat for the service manager whenever the daemon has shown that it works.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::broker::Broker;
use crate::daemon::systemd;
use crate::wire::links::Links;

/// Beats for as long as it is polled, if the service manager asks for it; beside everything that the
/// daemon's own thread does, so that a beat says of that too that it goes on.
///
/// Each beat waits for a task of its own that takes the locks which clients depend on. It runs where
/// clients are served: when those threads are all stuck, or a lock is not given back, the task does not
/// end, nobody beats, and the service manager puts a new daemon in this one's place.
pub(super) async fn beat(broker: Broker, links: Arc<Links>) -> Infallible {
    let Some(period) = systemd::watchdog() else { return pending().await };
    // Half of it, as sd_watchdog_enabled(3) recommends.
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (broker, links) = (broker.clone(), links.clone());
        let work = tokio::spawn(async move {
            broker.take_locks();
            links.take_lock();
        });
        if work.await.is_ok() {
            systemd::beat();
        }
    }
}
