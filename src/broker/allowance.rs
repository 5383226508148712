//! Allowances: how much one client may emit.

use std::num::NonZeroU64;
use std::time::Instant;

use crate::config::Limits;
use crate::config::RoleLimits;
use crate::protocol::Refusal;
use crate::wire::heard::Spending;

/// How much one client may emit.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Events in a second, and at once.
    events: Option<NonZeroU64>,
    /// Bytes of events in a second, and at once.
    bytes: Option<(NonZeroU64, u64)>,
    /// Bytes of an event as large as any may be.
    largest: u64,
}

impl Allowance {
    pub(super) fn new(limits: &Limits) -> Self {
        let largest = limits.max_payload.bytes() as u64;
        Self {
            events: limits.events_per_second().map(NonZeroU64::from),
            bytes: limits.bytes_per_second().map(|bytes| with_burst(bytes, largest)),
            largest,
        }
    }

    /// Spends one event of `bytes` bytes, with what the client's role says instead.
    pub(super) fn spend(
        &self,
        spending: &Spending,
        bytes: usize,
        role: Option<&RoleLimits>,
    ) -> Result<(), Refusal> {
        let events = match role.and_then(|role| role.events_per_second) {
            Some(own) => NonZeroU64::new(own.into()),
            None => self.events,
        };
        let all_bytes = match role.and_then(|role| role.bytes_per_second) {
            Some(own) => NonZeroU64::new(own.bytes() as u64).map(|own| with_burst(own, self.largest)),
            None => self.bytes,
        };
        if events.is_none() && all_bytes.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        let limited = |_| Refusal::RateLimited;
        if let Some(events) = events {
            spending.events.take(1, events, events.get(), now).map_err(limited)?;
        }
        if let Some((per_second, burst)) = all_bytes {
            spending.bytes.take(bytes as u64, per_second, burst, now).map_err(limited)?;
        }
        Ok(())
    }
}

/// So many bytes in a second, and at once: an event as large as any may be must fit, however few
/// bytes there are in a second.
fn with_burst(bytes: NonZeroU64, largest: u64) -> (NonZeroU64, u64) {
    (bytes, bytes.get().max(largest))
}
