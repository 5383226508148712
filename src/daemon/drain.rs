//! The drain: every session ended as its client needs it to come back by itself, then the listeners.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::timeout_at;
use tracing::info;
use tracing::warn;

use crate::daemon::Daemon;
use crate::daemon::systemd;
use crate::http::health::Phase;
use crate::telemetry::disconnection::Disconnection;

/// How long requests that are running may still take once every session has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

impl Daemon {
    /// Ends every session within `drain.timeout`, then stops listening. A second signal cuts it short.
    pub(super) async fn drain(mut self) {
        // Who waits for a reload hears that there will be none.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        let deadline = Instant::now() + self.reload.config.drain.timeout.get();
        self.phase.send_replace(Phase::Draining);
        self.metrics.draining.set(1);
        systemd::stopping();
        let emptied = async {
            self.reload.broker.end_all().await;
            self.reload.links.none_left(|left| self.metrics.drain_remaining(left)).await;
        };
        tokio::select! {
            ended = timeout_at(deadline, emptied) => if ended.is_err() {
                warn!(sessions = self.reload.links.all().len(), "the drain has run out of time: cutting off what is left");
            },
            signal = self.signals.end() => {
                warn!(sessions = self.reload.links.all().len(), "{signal} again: cutting off what is left");
            }
        }
        self.reload.links.kill_all(Disconnection::Drain);
        self.stop.send_replace(true);
        // Listeners and connections hold receivers; what still runs then has had its time.
        let _ = timeout_at(Instant::now() + LAST_REQUESTS, self.stop.closed()).await;
        info!("stopped");
    }
}
