//! Keys that are fetched: those that are there now, and when others are wanted.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arc_swap::Guard;
use http::Uri;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::access::keys::Keys;
use crate::config::Jwt;

/// Shortest time between two attempts to fetch the keys, whatever tokens name.
const PAUSE: Duration = Duration::from_mins(1);
/// Time between two attempts while there are no keys at all, and nobody with a token can connect.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time between two, so that a key that has been withdrawn is not valid for ever.
const AGE: Duration = Duration::from_mins(10);
/// How long a client whose token names an unknown key waits for the keys to be fetched.
const PATIENCE: Duration = Duration::from_secs(6);

/// A set of keys at an address. It is fetched by whoever waits until it is [`due`](Self::due).
#[derive(Debug)]
pub struct Jwks {
    url: Uri,
    config: Jwt,
    keys: ArcSwap<Keys>,
    /// Told when a token names a key that is not there.
    wanted: Notify,
    /// How many attempts to fetch them have ended, and when the last did.
    attempts: watch::Sender<(u64, Option<Instant>)>,
}

impl Jwks {
    pub(super) fn new(url: Uri, config: Jwt) -> Self {
        Self {
            url,
            config,
            keys: ArcSwap::default(),
            wanted: Notify::new(),
            attempts: watch::Sender::new((0, None)),
        }
    }

    /// Where the set is.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether none have been fetched yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    pub(super) fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Waits until the set should be fetched: at once the first time, soon as long as that fails, then when a token names a key
    /// that is not in it, and in any case now and then.
    pub async fn due(&self) {
        let (_, last) = *self.attempts.borrow();
        let Some(last) = last else { return };
        if self.is_empty() {
            return sleep(RETRY.saturating_sub(last.elapsed())).await;
        }
        let until = |age: Duration| age.saturating_sub(last.elapsed());
        if timeout(until(AGE), self.wanted.notified()).await.is_ok() {
            sleep(until(PAUSE)).await;
        }
    }

    /// An attempt has ended with these bytes, or failed. The keys that were there stay when it has
    /// failed, or when the bytes are no set of keys.
    pub fn fetched(&self, outcome: Result<impl AsRef<[u8]>, String>) -> Result<(), String> {
        let keys = outcome.and_then(|bytes| Keys::from_set(&self.config, bytes.as_ref()));
        let outcome = keys.map(|keys| self.keys.store(Arc::new(keys)));
        self.attempts.send_modify(|(count, last)| {
            *count += 1;
            *last = Some(Instant::now());
        });
        outcome
    }

    /// A token names a key that is not there: waits until the next attempt has ended, if one is made
    /// now; says whether one was.
    pub(super) async fn refreshed(&self) -> bool {
        let mut attempts = self.attempts.subscribe();
        let (_, last) = *attempts.borrow_and_update();
        self.wanted.notify_one();
        if !self.is_empty() && last.is_some_and(|last| last.elapsed() < PAUSE) {
            return false;
        }
        matches!(timeout(PATIENCE, attempts.changed()).await, Ok(Ok(())))
    }
}
