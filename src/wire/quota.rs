//! A quota: so much in a second, with a burst.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// What instants are counted from, as an atomic holds a number. A minute ago, as the first instant
/// that is asked about may be older than the first question.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_mins(1)).unwrap_or(now)
});

const NANOSECONDS: u128 = 1_000_000_000;

/// A bucket of tokens, full at first; one number, and no lock.
///
/// This is the generic cell rate algorithm: what is kept is not how many tokens there are but when
/// the bucket will be full again, its theoretical arrival time. Rate and burst come with each
/// question, so that they can change under a bucket in use. Time has the grain of a nanosecond, so
/// that a rate of a million in a second is exact to a thousandth.
#[derive(Debug, Default)]
pub struct Quota {
    /// Nanoseconds after `EPOCH`.
    full_at: AtomicU64,
}

impl Quota {
    /// Takes `cost` tokens out of a bucket that holds `burst` and gets `per_second` new ones in a
    /// second. A cost above the burst counts as the burst, so that it fits into a full bucket.
    ///
    /// # Errors
    ///
    /// When there are not enough tokens: how long until there are, if nobody else takes any. Nothing
    /// has been taken then.
    pub fn take(&self, cost: u64, per_second: NonZeroU64, burst: u64, now: Instant) -> Result<(), Duration> {
        let burst = burst.max(1);
        let added = time_for(cost.min(burst), per_second);
        let now = since_epoch(now);
        // No debt is greater than the bucket is now, whatever it was before.
        let latest = now.saturating_add(time_for(burst, per_second));
        let mut wait = 0;
        self.full_at
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let full_at = full_at.clamp(now, latest).saturating_add(added);
                wait = full_at.saturating_sub(latest);
                (wait == 0).then_some(full_at)
            })
            .map(drop)
            .map_err(|_| Duration::from_nanos(wait))
    }

    /// Whether the bucket is full, as a new one is.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.load(Relaxed) <= since_epoch(now)
    }
}

/// How many nanoseconds `tokens` take to come.
fn time_for(tokens: u64, per_second: NonZeroU64) -> u64 {
    let nanoseconds = u128::from(tokens) * NANOSECONDS / u128::from(per_second.get());
    // Rounded down, so that a burst taken one by one fits; but nothing is for free.
    u64::try_from(nanoseconds).unwrap_or(u64::MAX).max(tokens.min(1))
}

fn since_epoch(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(per_second).unwrap()
    }

    #[test]
    fn a_burst_fits_at_once_and_not_one_more() {
        let (quota, now) = (Quota::default(), Instant::now());
        for _ in 0..7 {
            assert_eq!(quota.take(1, rate(3), 7, now), Ok(()));
        }
        let wait = quota.take(1, rate(3), 7, now).unwrap_err();
        assert_eq!(wait.as_millis(), 333);
        assert!(quota.take(1, rate(3), 7, now + wait.saturating_sub(Duration::from_nanos(1))).is_err());
        assert_eq!(quota.take(1, rate(3), 7, now + wait), Ok(()));
    }

    #[test]
    fn a_cost_above_the_burst_takes_a_full_bucket() {
        let (quota, now) = (Quota::default(), Instant::now());
        assert_eq!(quota.take(u64::MAX, rate(10), 5, now), Ok(()));
        assert!(!quota.is_full(now));
        assert_eq!(quota.take(u64::MAX, rate(10), 5, now), Err(Duration::from_millis(500)));
        let later = now + Duration::from_millis(500);
        assert!(quota.is_full(later));
        assert_eq!(quota.take(6, rate(10), 5, later), Ok(()));
    }

    #[test]
    fn nothing_costs_nothing_even_of_an_empty_bucket() {
        let (quota, now) = (Quota::default(), Instant::now());
        assert_eq!(quota.take(1, rate(1), 1, now), Ok(()));
        assert_eq!(quota.take(0, rate(1), 1, now), Ok(()));
        assert_eq!(quota.take(1, rate(1), 0, now), Err(Duration::from_secs(1)));
    }

    #[test]
    fn a_new_rate_holds_for_a_bucket_in_use() {
        let (quota, now) = (Quota::default(), Instant::now());
        assert_eq!(quota.take(1000, rate(1), 1000, now), Ok(()));
        // A debt of 1,000 seconds is forgotten down to what the bucket is now.
        assert_eq!(quota.take(1, rate(10), 10, now), Err(Duration::from_millis(100)));
        assert_eq!(quota.take(10, rate(10), 10, now + Duration::from_secs(1)), Err(Duration::from_secs(1)));
    }

    #[test]
    fn threads_that_take_at_once_get_no_more_than_the_burst() {
        let (quota, now) = (Quota::default(), Instant::now());
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..1000).filter(|_| quota.take(1, rate(1), 1500, now).is_ok()).count())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1500);
    }

    #[test]
    fn the_ends_of_the_numbers_do_not_panic() {
        let (quota, now) = (Quota::default(), Instant::now());
        for (cost, per_second, burst) in [(u64::MAX, 1, u64::MAX), (1, u64::MAX, u64::MAX), (1, u64::MAX, 0)]
        {
            let _ = quota.take(cost, rate(per_second), burst, now);
            let _ = quota.take(cost, rate(per_second), burst, now);
        }
        // An instant before the first that was ever seen is that first one.
        assert!(!quota.is_full(*EPOCH));
    }

    /// Costs, and the time that passes before each.
    fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0..50_u64, 0..2_000_000_000_u64), 1..60)
    }

    proptest! {
        #[test]
        fn it_decides_as_a_bucket_of_fractions_does(steps in steps(), per_second in 1..1000_u64, burst in 1..60_u64) {
            let quota = Quota::default();
            let mut now = Instant::now();
            // Exact, in tokens × 10^9; what rounding may give away is a nanosecond's worth each time.
            let full = u128::from(burst) * NANOSECONDS;
            let (mut tokens, mut slack) = (full, 0);
            for (cost, passed) in steps {
                now += Duration::from_nanos(passed);
                tokens = full.min(tokens + u128::from(passed * per_second));
                let needed = u128::from(cost.min(burst)) * NANOSECONDS;
                slack += u128::from(per_second);
                if quota.take(cost, rate(per_second), burst, now).is_ok() {
                    prop_assert!(tokens + slack >= needed, "{tokens} of {needed} and yet taken");
                    tokens = tokens.saturating_sub(needed);
                } else {
                    prop_assert!(tokens < needed + slack, "{tokens} of {needed} and yet refused");
                }
            }
        }

        #[test]
        fn the_wait_it_tells_is_as_long_as_needed_and_no_longer(
            steps in steps(), per_second in 1..1_000_000_u64, burst in 1..60_u64,
        ) {
            let quota = Quota::default();
            let mut now = Instant::now();
            for (cost, passed) in steps {
                now += Duration::from_nanos(passed / 1000);
                if let Err(wait) = quota.take(cost, rate(per_second), burst, now) {
                    prop_assert!(wait <= Duration::from_nanos(time_for(burst, rate(per_second))));
                    let early = now + wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert_eq!(quota.take(cost, rate(per_second), burst, early), Err(Duration::from_nanos(1)));
                    now += wait;
                    prop_assert_eq!(quota.take(cost, rate(per_second), burst, now), Ok(()));
                }
            }
        }
    }
}
