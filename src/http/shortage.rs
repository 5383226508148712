//! A shortage of file descriptors, which comes whatever we count when others hold them.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tracing::info;
use tracing::warn;

/// How long after the last failure a new connection may be expected to fail too.
const FRESH: Duration = Duration::from_secs(1);
/// How long after it the shortage is over; one that comes and goes is one shortage.
const CALM: Duration = Duration::from_secs(5);

/// Whether connections could not be accepted lately.
#[derive(Debug, Default)]
pub(super) struct Shortage(Mutex<Option<Instant>>);

impl Shortage {
    /// Accepting has failed with this error.
    pub(super) fn note(&self, error: &std::io::Error, now: Instant) {
        if self.last().replace(now).is_none() {
            warn!("cannot accept connections: {error}");
        }
    }

    /// Whether it has failed a moment ago.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.last().is_some_and(|last| now.saturating_duration_since(last) < FRESH)
    }

    /// Notes the end of a shortage; to be called now and then.
    pub(super) fn upkeep(&self, now: Instant) {
        if self.last().take_if(|last| now.saturating_duration_since(*last) >= CALM).is_some() {
            info!("connections are accepted again");
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_that_comes_and_goes_is_one_and_ends_when_it_has_been_calm() {
        let (shortage, began) = (Shortage::default(), Instant::now());
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        assert!(!shortage.holds(began));
        shortage.note(&std::io::ErrorKind::Other.into(), began);
        assert!(shortage.holds(after(999)));
        assert!(!shortage.holds(after(1000)));
        shortage.note(&std::io::ErrorKind::Other.into(), after(3000));
        shortage.upkeep(after(7999));
        assert!(shortage.last().is_some());
        shortage.upkeep(after(8000));
        assert!(shortage.last().is_none());
    }
}
