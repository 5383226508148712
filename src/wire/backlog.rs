//! The backlog: how much waits to leave, and since when.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

/// What waits to leave, in the order in which it came.
///
/// Nothing is noted of each thing that comes: marks say how much had come by when, so that the age
/// of the oldest is known to the time between two marks. They are few, and none are kept while
/// nothing waits.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Everything that has come.
    put: u64,
    /// Everything that has left.
    taken: u64,
    marks: VecDeque<Mark>,
}

/// What had come up to `position` has waited since `since`, or longer.
#[derive(Debug)]
struct Mark {
    position: u64,
    since: Instant,
}

impl Backlog {
    /// How much waits.
    pub(super) fn waiting(&self) -> u64 {
        self.put - self.taken
    }

    /// `amount` has come.
    pub(super) fn put(&mut self, amount: u64) {
        self.put += amount;
    }

    /// At most `amount` has left; says how much really has.
    pub(super) fn take(&mut self, amount: u64) -> u64 {
        let amount = amount.min(self.waiting());
        self.taken += amount;
        while self.marks.front().is_some_and(|mark| mark.position <= self.taken) {
            self.marks.pop_front();
        }
        if self.marks.is_empty() && self.marks.capacity() > 0 {
            // What has once been slow does not keep its memory.
            self.marks = VecDeque::new();
        }
        amount
    }

    /// Notes that what waits now does so at `now`; within `step` of the last mark it is not needed.
    pub(super) fn mark(&mut self, now: Instant, step: Duration) {
        let recent = |mark: &Mark| mark.position == self.put || now.duration_since(mark.since) < step;
        if self.waiting() > 0 && !self.marks.back().is_some_and(recent) {
            self.marks.push_back(Mark { position: self.put, since: now });
        }
    }

    /// Since when the oldest that waits has been marked.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.marks.front().map(|mark| mark.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    #[test]
    fn the_oldest_is_what_came_first_and_has_not_left() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.mark(start, STEP);
        assert_eq!(backlog.oldest(), None, "nothing waits");
        for second in 0..4 {
            backlog.put(10);
            backlog.mark(start + STEP * second, STEP);
        }
        assert_eq!((backlog.waiting(), backlog.oldest()), (40, Some(start)));
        // A little now and then does not make the oldest younger.
        assert_eq!((backlog.take(9), backlog.oldest()), (9, Some(start)));
        assert_eq!((backlog.take(1), backlog.oldest()), (1, Some(start + STEP)));
        assert_eq!((backlog.take(25), backlog.oldest()), (25, Some(start + STEP * 3)));
        assert_eq!((backlog.take(99), backlog.oldest()), (5, None));
        assert_eq!((backlog.take(1), backlog.waiting()), (0, 0));
        assert_eq!(backlog.marks.capacity(), 0);
    }

    #[test]
    fn marks_are_as_few_as_their_step_says() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        for millisecond in 0..10_000 {
            backlog.put(1);
            backlog.mark(start + Duration::from_millis(millisecond), STEP);
        }
        assert_eq!(backlog.marks.len(), 10);
        assert_eq!(backlog.oldest(), Some(start));
    }
}
