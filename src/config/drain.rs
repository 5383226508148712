//! `[drain]`: how the broker stops.

use serde::Deserialize;
use serde::Serialize;

use crate::config::Delay;

/// How the broker stops.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Drain {
    /// Longest time from the signal to the end. Sessions that are not over by then are cut off;
    /// `"0s"` cuts all of them off at once.
    ///
    /// Default: `"25s"`. Takes effect: on reload.
    pub timeout: Delay,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Delay::seconds(25) }
    }
}
