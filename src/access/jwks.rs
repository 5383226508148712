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
    fetched: ArcSwap<Fetched>,
    /// Told when a token names a key that is not there.
    wanted: Notify,
    /// How many attempts to fetch them have ended, and when the last did.
    attempts: watch::Sender<(u64, Option<Instant>)>,
}

/// What was there the last time that keys were.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) keys: Keys,
    /// What they were read from.
    set: Box<[u8]>,
}

impl Fetched {
    fn read(config: &Jwt, set: &[u8]) -> Result<Self, String> {
        Keys::from_set(config, set).map(|keys| Self { keys, set: set.into() })
    }
}

impl Jwks {
    /// A set that is to be fetched as `config` says. Until it has been, that is taken which `before` has
    /// fetched from the same address.
    pub(super) fn new(url: Uri, config: Jwt, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.url == url).map(|before| before.fetched.load());
        let fetched = before.and_then(|before| Fetched::read(&config, &before.set).ok()).unwrap_or_default();
        Self {
            url,
            config,
            fetched: ArcSwap::from_pointee(fetched),
            wanted: Notify::new(),
            attempts: watch::Sender::new((0, None)),
        }
    }

    /// Where the set is.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fetched.load().keys.is_empty()
    }

    /// Whether nobody has tried yet to fetch it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.attempts.borrow().1.is_none()
    }

    pub(super) fn fetched_last(&self) -> Guard<Arc<Fetched>> {
        self.fetched.load()
    }

    /// Waits until the set should be fetched: at once the first time, soon as long as there are no keys,
    /// then when a token names a key that is not in it, and in any case now and then.
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

    /// An attempt has ended with these bytes, or failed; says whether the keys are others now. Those that
    /// were there stay when it has failed, or when the bytes are no set of keys.
    pub fn fetched(&self, outcome: Result<impl AsRef<[u8]>, String>) -> Result<bool, String> {
        let fetched = outcome.and_then(|bytes| Fetched::read(&self.config, bytes.as_ref()));
        let outcome = fetched.map(|fetched| {
            let differs = fetched.set != self.fetched.load().set;
            self.fetched.store(Arc::new(fetched));
            differs
        });
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
