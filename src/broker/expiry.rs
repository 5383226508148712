//! Expiry: a client whose token ends is ended at that moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::broker::session::Session;
use crate::telemetry::disconnection::Disconnection;

/// Longest time between two looks at the clock, which somebody may have set.
const LOOK: Duration = Duration::from_secs(10);

/// When a session expires, and a number that tells it from others of the same moment.
pub(super) type Moment = (SystemTime, u64);

/// Those who expire, the first of them first.
#[derive(Default)]
pub(super) struct Expiries {
    queue: Mutex<BTreeMap<Moment, Weak<Session>>>,
    /// Told when there is a new first.
    sooner: Notify,
    count: AtomicU64,
}

impl Expiries {
    /// Puts a session where its identity says, instead of where it was before.
    pub(super) fn add(&self, session: &Arc<Session>) {
        let moment = session.identity().expires().map(|expires| (expires, self.count.fetch_add(1, Relaxed)));
        let mut queue = self.queue();
        let mut place = session.expiry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *place, moment) {
            queue.remove(&before);
        }
        if let Some(moment) = moment {
            queue.insert(moment, Arc::downgrade(session));
            if queue.first_key_value().is_some_and(|(first, _)| *first == moment) {
                self.sooner.notify_one();
            }
        }
    }

    /// A session is gone.
    pub(super) fn remove(&self, session: &Session) {
        let mut queue = self.queue();
        if let Some(moment) = session.expiry.lock().unwrap_or_else(PoisonError::into_inner).take() {
            queue.remove(&moment);
        }
    }

    /// Those who have expired, and how long until others do.
    fn due(&self, now: SystemTime) -> (Vec<Arc<Session>>, Duration) {
        let mut queue = self.queue();
        let later = queue.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut *queue, later);
        let next = queue.first_key_value().and_then(|((next, _), _)| next.duration_since(now).ok());
        (due.values().filter_map(Weak::upgrade).collect(), next.unwrap_or(LOOK).min(LOOK))
    }

    fn queue(&self) -> MutexGuard<'_, BTreeMap<Moment, Weak<Session>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// Ends those who expire, each at its moment; for ever.
    pub async fn expire(self) {
        loop {
            let (due, wait) = self.0.expiries.due(SystemTime::now());
            for session in due {
                self.end(&session, Disconnection::Expired);
            }
            let _ = timeout(wait, self.0.expiries.sooner.notified()).await;
        }
    }
}
