//! Backoff: how long to wait before another attempt, so that neither server nor log suffers, and nodes that
//! have lost the same server do not come back in one instant.

use std::time::Duration;

use crate::relay::node::random;

/// The wait after a first failure, which is doubled with each.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait: messages reach other nodes again within two and a half seconds of a server that is back.
const LONGEST: Duration = Duration::from_secs(1);

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// How long to wait now: between half of what it would be and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait / 2 + (wait / 2).mul_f64(f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX))
    }

    /// How long others may still wait that have lost the same server at the same time: who has had shorter waits
    /// so far has made one more attempt, and waits for twice as long.
    pub(super) fn of_others(&self) -> Duration {
        (self.0 * 2).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_second_and_are_never_the_same() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        for (number, wait) in waits.iter().enumerate() {
            let most = (FIRST * 2_u32.pow(number.min(10).try_into().unwrap())).min(LONGEST);
            assert!(most / 2 <= *wait && *wait <= most, "{number}: {wait:?}");
        }
        assert!(waits[10..].windows(2).any(|pair| pair[0] != pair[1]), "{waits:?}");
    }

    #[test]
    fn whoever_is_back_knows_how_long_others_may_wait() {
        for _ in 0..1000 {
            let (mut own, mut others) = (Backoff::default(), Backoff::default());
            let back: Duration = (0..6).map(|_| own.next()).sum();
            let mut next = Duration::ZERO;
            while next < back {
                next += others.next();
            }
            assert!(next <= back + own.of_others(), "{back:?} and {next:?}");
        }
    }
}
