//! Allowances: how much one client may emit.

use std::num::NonZeroU64;
use std::time::Instant;

use crate::config::Limits;
use crate::protocol::Refusal;
use crate::wire::heard::Spending;

/// How much one client may emit.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Events in a second, and at once.
    events: Option<NonZeroU64>,
    /// Bytes of events in a second, and at once.
    bytes: Option<(NonZeroU64, u64)>,
}

impl Allowance {
    pub(super) fn new(limits: &Limits) -> Self {
        // A message as large as any may be must fit, however few bytes there are in a second.
        let burst = |bytes: NonZeroU64| bytes.get().max(limits.max_payload.bytes() as u64);
        Self {
            events: limits.events_per_second().map(NonZeroU64::from),
            bytes: limits.bytes_per_second().map(|bytes| (bytes, burst(bytes))),
        }
    }

    /// Spends one event of `bytes` bytes.
    pub(super) fn spend(&self, spending: &Spending, bytes: usize) -> Result<(), Refusal> {
        if self.events.is_none() && self.bytes.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        let limited = |_| Refusal::RateLimited;
        if let Some(events) = self.events {
            spending.events.take(1, events, events.get(), now).map_err(limited)?;
        }
        if let Some((per_second, burst)) = self.bytes {
            spending.bytes.take(bytes as u64, per_second, burst, now).map_err(limited)?;
        }
        Ok(())
    }
}
