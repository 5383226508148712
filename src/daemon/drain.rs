//! The drain: every session ended as its client needs it to come back by itself, then the listeners.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::interval;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;
use tracing::info;
use tracing::warn;

use crate::daemon::Daemon;
use crate::daemon::systemd;
use crate::http::Stage;
use crate::http::health::Phase;
use crate::telemetry::disconnection::Disconnection;
use crate::telemetry::metrics::Metrics;
use crate::wire::links::Links;

/// How often the service manager hears how far the drain has come.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long connections are still served once none is accepted any more: the request of a client that
/// has just connected is on its way, and would be lost.
const LATE_REQUESTS: Duration = Duration::from_millis(250);
/// How long requests that are running may still take after that.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

impl Daemon {
    /// Ends every session within `drain.timeout`, then stops listening. A second signal cuts it short.
    pub(super) async fn drain(mut self) {
        // Who waits for a reload hears that there will be none.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        let deadline = Instant::now() + self.reload.config.drain.timeout.get();
        // Nobody is let in any more, unless there is a notice, or those who connect can be left to wait for
        // the next process first.
        let at_once = self.reload.config.drain.notice.get().is_zero() && !self.outlived;
        self.phase.send_replace(if at_once { Phase::Ending } else { Phase::Draining });
        self.metrics.draining.set(1);
        systemd::stopping();
        let (links, metrics) = (self.reload.links.clone(), self.metrics.clone());
        let ended = async {
            let late = if self.end_sessions(deadline).await { LATE_REQUESTS } else { Duration::ZERO };
            // The listener for operators goes last: they see all of it.
            close(&self.clients, late).await;
            close(&self.operators, late).await;
        };
        tokio::select! {
            () = ended => info!("stopped"),
            never = tell_progress(&links, &metrics) => match never {},
        }
    }

    /// Ends every session; whether it could be done in order, before `deadline` and a second signal.
    async fn end_sessions(&mut self, deadline: Instant) -> bool {
        let drain = &self.reload.config.drain;
        let emptied = async {
            sleep(drain.notice.get()).await;
            if self.outlived {
                // Who comes now would be refused; in the socket's queue it waits for the next process. Who
                // was let in a moment before gets a session yet, and is sent back like everyone.
                self.clients.send_replace(Stage::Queueing);
                sleep(LATE_REQUESTS).await;
            }
            self.phase.send_replace(Phase::Ending);
            self.reload.broker.end_all(drain.spread_that_fits()).await;
            self.reload.links.none_left().await;
            if let Some(relay) = self.relay.as_ref().filter(|relay| relay.is_up()) {
                relay.flushed().await;
            }
        };
        let left = || *self.reload.links.count().borrow();
        let in_order = tokio::select! {
            ended = timeout_at(deadline, emptied) => {
                if ended.is_err() {
                    warn!(sessions = left(), "the drain has run out of time: cutting off what is left");
                }
                ended.is_ok()
            }
            signal = self.signals.end() => {
                warn!(sessions = left(), "{signal} again: cutting off what is left");
                false
            }
        };
        // A request that was let in a moment before may have begun a session since.
        self.phase.send_replace(Phase::Ending);
        self.reload.links.kill_all(Disconnection::Drain);
        in_order
    }
}

/// Says how many sessions are left, for as long as it is asked to.
async fn tell_progress(links: &Links, metrics: &Metrics) -> Infallible {
    let mut count = links.count();
    let mut most = 0;
    let mut ticks = interval(PROGRESS);
    loop {
        let left = *count.borrow_and_update();
        most = most.max(left);
        metrics.drain_remaining(left);
        tokio::select! {
            _ = ticks.tick() => systemd::draining(&format!("draining, {left} of {most} sessions left")),
            // The sender lives in `links`.
            _ = count.changed() => {}
        }
    }
}

/// Has a listener stop accepting, and its connections end: those without a request after `late`, all
/// of them a while later.
async fn close(listener: &watch::Sender<Stage>, late: Duration) {
    // The listener and its connections hold receivers: it is known when all have ended.
    listener.send_replace(Stage::Closing);
    let _ = timeout(late, listener.closed()).await;
    listener.send_replace(Stage::Ending);
    let _ = timeout(LAST_REQUESTS, listener.closed()).await;
}
