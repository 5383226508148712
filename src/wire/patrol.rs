//! The patrol: what sessions may keep waiting, looked after while they are not heard of.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::time::sleep;

use crate::config::Limits;
use crate::config::SlowConsumer;
use crate::telemetry::disconnection::Disconnection;
use crate::wire::link::Link;
use crate::wire::links::Links;

/// How often the patrol goes round in the time that anything may wait, within [`ROUNDS`].
const ROUNDS_PER_WAIT: u32 = 16;
/// Shortest and longest time between two rounds: often enough to be exact to half a second.
const ROUNDS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// How long what is queued for a client has waited, unless all may wait for less, when it counts as
/// too slow should all queues together be too long.
const STUCK: Duration = Duration::from_secs(1);

/// What bounds the send queues together, and the patience with clients.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Most bytes in all queues together.
    total: usize,
    /// Longest time that anything may wait in a queue.
    age: Duration,
    /// Longest time that announced attachments may take.
    attachments: Duration,
    slow_consumer: SlowConsumer,
}

impl Bounds {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            total: limits.send_queue_total.bytes(),
            age: limits.write_stall.get(),
            attachments: limits.body_timeout.get(),
            slow_consumer: limits.slow_consumer,
        }
    }
}

impl Links {
    /// Goes round for as long as the daemon lives; `bury` ends a session that polls, is closed or has
    /// ended, and whose client does not come to hear of it.
    pub async fn patrol(self: Arc<Self>, bury: impl Fn(Arc<Link>)) {
        loop {
            let bounds = self.bounds();
            let shortest = bounds.age.min(bounds.attachments);
            sleep((shortest / ROUNDS_PER_WAIT).clamp(ROUNDS.0, ROUNDS.1)).await;
            self.go_round(Instant::now(), &bury);
        }
    }

    fn go_round(&self, now: Instant, bury: impl Fn(Arc<Link>)) {
        let bounds = self.bounds();
        let links = self.all();
        for link in &links {
            if link.queue().is_late(now, bounds.age) && bounds.slow_consumer == SlowConsumer::Disconnect {
                link.close(Disconnection::SlowConsumer);
            }
            if link.heard().owing_since().is_some_and(|since| now.duration_since(since) >= bounds.attachments)
            {
                link.close(Disconnection::ProtocolError);
            }
            if link.is_forsaken(now) {
                bury(link.clone());
            }
        }
        if self.queued() > bounds.total {
            self.relieve(now, &bounds, links);
        }
    }

    /// Closes the sessions with the longest queues until a sixteenth of what all may hold is free, so
    /// that the next message does not need it again.
    ///
    /// Only those whose queues are stuck: one message to very many is too much for a moment, and they
    /// are innocent of it.
    fn relieve(&self, now: Instant, bounds: &Bounds, links: Vec<Arc<Link>>) {
        let stuck = bounds.age.min(STUCK);
        let mut links: Vec<_> = links
            .into_iter()
            .filter(|link| link.queue().is_stuck(now, stuck))
            .map(|link| (link.queue().waiting(), link))
            .collect();
        links.sort_unstable_by_key(|(queued, _)| std::cmp::Reverse(*queued));
        let enough = bounds.total / 16 * 15;
        for (_, link) in links {
            if self.queued() <= enough {
                return;
            }
            link.close(Disconnection::SlowConsumer);
            link.abandon();
        }
    }
}
