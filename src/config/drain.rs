//! `[drain]`: how the broker stops.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::config::Delay;
use crate::config::contradiction::Contradiction;
use crate::config::contradiction::Step;

/// How the broker stops.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Drain {
    /// How long clients are still let in once `/readyz` says that the broker is draining, so that load
    /// balancers have the time to see it; less than `timeout`.
    ///
    /// Default: `"0s"`. Takes effect: on reload.
    pub notice: Delay,

    /// The time over which sessions end, evenly, so that their clients do not all come back in one
    /// instant; less if there are few of them, or if `timeout` does not leave as much.
    ///
    /// Default: `"5s"`. Takes effect: on reload.
    pub spread: Delay,

    /// Longest time from the signal to the end. Sessions that are not over by then are cut off;
    /// `"0s"` cuts all of them off at once.
    ///
    /// Default: `"25s"`. Takes effect: on reload.
    pub timeout: Delay,
}

impl Drain {
    /// What is wrong between keys.
    pub(super) fn contradiction(&self) -> Option<Contradiction> {
        let late = !self.notice.get().is_zero() && self.notice >= self.timeout;
        late.then(|| {
            let place = vec![Step::Key("drain"), Step::Key("notice")];
            Contradiction::new(place, "`timeout` is over by then; write less than that")
        })
    }

    /// The time over which sessions end: of what the notice leaves, a quarter is kept back for the last
    /// of them.
    #[must_use]
    pub fn spread_that_fits(&self) -> Duration {
        let left = self.timeout.get().saturating_sub(self.notice.get());
        self.spread.get().min(left / 4 * 3)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { notice: Delay::seconds(0), spread: Delay::seconds(5), timeout: Delay::seconds(25) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(notice: &str, spread: &str, timeout: &str) -> Drain {
        let delay = |text: &str| text.parse().unwrap();
        Drain { notice: delay(notice), spread: delay(spread), timeout: delay(timeout) }
    }

    #[test]
    fn sessions_end_within_the_time_that_there_is() {
        for (notice, spread, timeout, seconds) in [
            ("0s", "5s", "25s", 5),
            ("10s", "9s", "22s", 9),
            ("10s", "10s", "22s", 9),
            ("0s", "1h", "40s", 30),
            ("0s", "5s", "0s", 0),
            ("0s", "0s", "25s", 0),
        ] {
            let drain = drain(notice, spread, timeout);
            assert_eq!(drain.contradiction(), None);
            assert_eq!(drain.spread_that_fits(), Duration::from_secs(seconds), "{drain:?}");
        }
    }

    #[test]
    fn a_notice_that_takes_all_the_time_is_a_contradiction() {
        assert!(drain("25s", "5s", "25s").contradiction().is_some());
        assert!(drain("1ms", "0s", "0s").contradiction().is_some());
        assert!(drain("24s", "5s", "25s").contradiction().is_none());
    }
}
