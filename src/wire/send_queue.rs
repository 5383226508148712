//! The send queue of one session, as far as its bounds go: how much is in it, and for how long.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::wire::backlog::Backlog;

/// How many marks are kept of what waits, so how exactly its age is known.
const MARKS: u32 = 64;

/// What is queued for a client and has not been handed to its transport.
#[derive(Debug, Default)]
pub(super) struct SendQueue(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    backlog: Backlog,
    /// It takes nothing for now: the oldest has waited too long.
    late: bool,
    /// It takes nothing ever again.
    abandoned: bool,
}

impl Queue {
    fn is_older(&self, now: Instant, age: Duration) -> bool {
        self.backlog.oldest().is_some_and(|oldest| now.duration_since(oldest) >= age)
    }
}

impl SendQueue {
    /// Takes `cost` bytes, if there is room for them among `capacity`; an empty queue takes any one
    /// message. Says how much waited before, if it has taken them.
    pub(super) fn put(&self, cost: u64, capacity: u64) -> Option<u64> {
        let mut queue = self.lock();
        let waiting = queue.backlog.waiting();
        let takes = (waiting == 0 || waiting + cost <= capacity) && !queue.late && !queue.abandoned;
        takes.then(|| {
            queue.backlog.put(cost);
            waiting
        })
    }

    /// Takes `cost` bytes of an acknowledgement, whatever waits, unless that is as much again as
    /// `capacity`: an acknowledgement is never dropped, but nobody may ask for them without end.
    pub(super) fn put_acknowledgement(&self, cost: u64, capacity: u64) -> Option<u64> {
        let mut queue = self.lock();
        let waiting = queue.backlog.waiting();
        let takes = waiting <= capacity.saturating_mul(2) && !queue.abandoned;
        takes.then(|| {
            queue.backlog.put(cost);
            waiting
        })
    }

    /// At most `cost` bytes have left; says how many really have.
    pub(super) fn take(&self, cost: u64) -> u64 {
        self.lock().backlog.take(cost)
    }

    /// Bytes that are in it.
    pub(super) fn waiting(&self) -> u64 {
        self.lock().backlog.waiting()
    }

    /// Gives up what is in it, and takes nothing any more; says how many bytes that were.
    pub(super) fn abandon(&self) -> u64 {
        let mut queue = self.lock();
        queue.abandoned = true;
        queue.backlog.take(u64::MAX)
    }

    /// Looks at what waits, and says whether the oldest has done so for `age`; from then on the queue
    /// takes nothing until that has left.
    pub(super) fn is_late(&self, now: Instant, age: Duration) -> bool {
        let mut queue = self.lock();
        queue.backlog.mark(now, age / MARKS);
        queue.late = queue.is_older(now, age);
        queue.late
    }

    /// Whether the oldest that waits was seen to do so `least` ago.
    pub(super) fn is_stuck(&self, now: Instant, least: Duration) -> bool {
        self.lock().is_older(now, least)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_what_fits_and_when_empty_any_one_message() {
        let queue = SendQueue::default();
        assert_eq!(queue.put(1_000, 100), Some(0), "an empty queue");
        assert_eq!(queue.put(1, 100), None);
        assert_eq!((queue.take(1_000), queue.waiting()), (1_000, 0));
        assert_eq!([60, 40, 1].map(|cost| queue.put(cost, 100)), [Some(0), Some(60), None]);
        assert_eq!(queue.waiting(), 100);
        while queue.put_acknowledgement(20, 100).is_some() {}
        assert_eq!(queue.waiting(), 220);
    }

    #[test]
    fn a_queue_that_is_late_takes_nothing_until_the_oldest_has_left() {
        let (queue, age, start) = (SendQueue::default(), Duration::from_secs(15), Instant::now());
        assert!(queue.put(10, 100).is_some() && !queue.is_late(start, age));
        assert!(queue.put(10, 100).is_some() && !queue.is_late(start + age / 2, age));
        assert!(queue.is_late(start + age, age) && queue.put(10, 100).is_none());
        assert_eq!(queue.take(9), 9);
        assert!(queue.is_late(start + age, age), "a byte of the oldest is still there");
        assert_eq!(queue.take(1), 1);
        assert!(!queue.is_late(start + age, age) && queue.put(10, 100).is_some());
        assert!(queue.is_late(start + age * 3 / 2, age));
    }

    #[test]
    fn an_abandoned_queue_is_empty_and_stays_so() {
        let queue = SendQueue::default();
        assert!(queue.put(30, 100).is_some());
        assert_eq!((queue.abandon(), queue.waiting(), queue.take(30)), (30, 0, 0));
        assert!(queue.put(1, 100).is_none());
    }
}
