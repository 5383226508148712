//! Who has heard what: deliveries that are missing, out of order or astray, and how long the others took.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::marker::Marker;

/// Rooms, those who read in them, and those who publish to them.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rooms: usize,
    /// Readers of each room.
    pub members: usize,
    /// Publishers that each room has; each makes one stream of messages in it.
    pub voices: usize,
    /// Connections that publish, over which the streams are spread.
    pub publishers: usize,
}

impl Plan {
    pub fn readers(&self) -> usize {
        self.rooms * self.members
    }

    pub fn streams(&self) -> usize {
        self.rooms * self.voices
    }

    pub fn room_of_stream(&self, stream: usize) -> String {
        room(stream / self.voices)
    }

    pub fn room_of_reader(&self, reader: usize) -> String {
        room(reader / self.members)
    }
}

/// The name of a room, which has no tilde.
fn room(number: usize) -> String {
    format!("bench-{number}")
}

#[derive(Clone, Debug, Default)]
struct Stream {
    /// The number of its next message.
    next: u32,
    /// The number of the first message that is in flight, and for each from there on how many readers
    /// have yet to hear it.
    first: u32,
    flights: VecDeque<u32>,
    /// Readers that its room has.
    readers: u32,
}

#[derive(Debug)]
pub struct Tally {
    plan: Plan,
    streams: Vec<Stream>,
    /// For each reader and each stream of its room, the number that it is due to hear next.
    due: Vec<u32>,
    gone: Vec<bool>,
    /// Messages that not everybody has heard yet.
    pub in_flight: usize,
    pub published: u64,
    pub expected: u64,
    pub delivered: u64,
    /// Deliveries after a later one of their stream, or for the second time.
    pub disordered: u64,
    /// Deliveries to whom they were not for.
    pub astray: u64,
    pub readers_lost: u64,
    /// Nanoseconds from publish to delivery.
    pub latency: Histogram<u64>,
}

impl Tally {
    pub fn new(plan: Plan) -> Self {
        let readers = u32::try_from(plan.members).unwrap_or(u32::MAX);
        Self {
            plan,
            streams: vec![Stream { readers, ..Stream::default() }; plan.streams()],
            due: vec![0; plan.readers() * plan.voices],
            gone: vec![false; plan.readers()],
            in_flight: 0,
            published: 0,
            expected: 0,
            delivered: 0,
            disordered: 0,
            astray: 0,
            readers_lost: 0,
            latency: histogram(),
        }
    }

    /// The mark of the next message of `stream`, which is sent at `now`.
    pub fn publish(&mut self, stream: usize, now: u64) -> Option<Marker> {
        let state = self.streams.get_mut(stream)?;
        let marker = Marker { stream: u32::try_from(stream).ok()?, number: state.next, sent: now };
        state.next += 1;
        state.flights.push_back(state.readers);
        self.in_flight += usize::from(state.readers > 0);
        self.published += 1;
        self.expected += u64::from(state.readers);
        state.settle();
        Some(marker)
    }

    /// `reader` has heard a message at `now`.
    pub fn deliver(&mut self, reader: usize, marker: Marker, now: u64) {
        let voices = self.plan.voices;
        let number = marker.stream as usize;
        // The first stream of the reader's room.
        let base = reader / self.plan.members * voices;
        let voice = number.wrapping_sub(base);
        let due = self.due.get_mut(reader * voices + voice.min(voices));
        let (Some(due), Some(stream), true) = (due, self.streams.get_mut(number), voice < voices) else {
            self.astray += 1;
            return;
        };
        self.delivered += 1;
        self.latency.saturating_record(now.saturating_sub(marker.sent));
        if marker.number < *due {
            self.disordered += 1;
            return;
        }
        // Those in between are not waited for.
        for number in *due..=marker.number.min(stream.next.wrapping_sub(1)) {
            self.in_flight -= usize::from(stream.land(number));
        }
        *due = marker.number + 1;
    }

    /// `reader` is not connected any more: nothing else reaches it.
    pub fn lose(&mut self, reader: usize) {
        let Some(gone) = self.gone.get_mut(reader).filter(|gone| !**gone) else { return };
        *gone = true;
        self.readers_lost += 1;
        let base = reader / self.plan.members * self.plan.voices;
        for voice in 0..self.plan.voices {
            let due = self.due.get(reader * self.plan.voices + voice).copied().unwrap_or_default();
            let Some(stream) = self.streams.get_mut(base + voice) else { continue };
            stream.readers -= 1;
            for number in due..stream.next {
                self.in_flight -= usize::from(stream.land(number));
            }
        }
    }

    /// Nothing that is in flight is waited for any longer.
    pub fn write_off(&mut self) {
        self.in_flight = 0;
        for stream in &mut self.streams {
            stream.flights.clear();
            stream.first = stream.next;
        }
    }

    /// Whether everything has come, once, in order, and to whom it was for.
    pub fn is_true(&self) -> bool {
        (self.missing(), self.disordered, self.astray, self.readers_lost) == (0, 0, 0, 0)
    }

    /// Deliveries that were to be and have not been.
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}

impl Stream {
    /// One more has heard `number`, or never will; whether that was the last.
    fn land(&mut self, number: u32) -> bool {
        let Some(at) = number.checked_sub(self.first) else { return false };
        let Some(left) = self.flights.get_mut(at as usize).filter(|left| **left > 0) else { return false };
        *left -= 1;
        let landed = *left == 0;
        self.settle();
        landed
    }

    fn settle(&mut self) {
        while self.flights.front() == Some(&0) {
            self.flights.pop_front();
            self.first += 1;
        }
    }
}

/// Nanoseconds up to minutes, to three digits.
pub fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_max(600_000_000_000, 3)
        .or_else(|_| Histogram::new(3))
        .unwrap_or_else(|_| unreachable!("three digits are as many as a histogram may have"));
    histogram.auto(true);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally::new(Plan { rooms: 2, members: 2, voices: 2, publishers: 2 })
    }

    #[test]
    fn a_message_lands_when_everybody_has_heard_it() {
        let mut tally = tally();
        let marker = tally.publish(3, 100).unwrap();
        assert_eq!((tally.in_flight, tally.missing()), (1, 2));
        tally.deliver(2, marker, 150);
        assert_eq!((tally.in_flight, tally.missing()), (1, 1));
        tally.deliver(3, marker, 160);
        assert_eq!((tally.in_flight, tally.missing(), tally.disordered, tally.astray), (0, 0, 0, 0));
        assert_eq!((tally.latency.min(), tally.latency.max()), (50, 60));
    }

    #[test]
    fn a_gap_is_missing_and_what_comes_late_is_out_of_order() {
        let mut tally = tally();
        let markers: Vec<_> = (0..3).map(|_| tally.publish(0, 0).unwrap()).collect();
        for reader in [0, 1] {
            tally.deliver(reader, markers[0], 1);
            tally.deliver(reader, markers[2], 1);
        }
        assert_eq!((tally.in_flight, tally.missing(), tally.disordered), (0, 2, 0));
        tally.deliver(1, markers[1], 1);
        assert_eq!((tally.in_flight, tally.missing(), tally.disordered), (0, 1, 1));
    }

    #[test]
    fn what_reaches_another_room_is_astray() {
        let mut tally = tally();
        let marker = tally.publish(0, 0).unwrap();
        tally.deliver(2, marker, 1);
        tally.deliver(0, Marker { stream: 99, ..marker }, 1);
        assert_eq!((tally.astray, tally.delivered, tally.missing()), (2, 0, 2));
    }

    #[test]
    fn a_reader_that_is_lost_is_not_waited_for() {
        let mut tally = tally();
        let first = tally.publish(0, 0).unwrap();
        tally.deliver(0, first, 1);
        tally.lose(1);
        tally.lose(1);
        assert_eq!((tally.in_flight, tally.missing(), tally.readers_lost), (0, 1, 1));
        let second = tally.publish(0, 0).unwrap();
        tally.deliver(0, second, 1);
        assert_eq!((tally.in_flight, tally.missing()), (0, 1));
    }

    #[test]
    fn what_is_written_off_holds_nobody_up() {
        let mut tally = tally();
        let first = tally.publish(0, 0).unwrap();
        tally.write_off();
        let second = tally.publish(0, 0).unwrap();
        tally.deliver(0, first, 1);
        tally.deliver(0, second, 1);
        tally.deliver(1, second, 1);
        assert_eq!((tally.in_flight, tally.missing()), (0, 1));
    }
}
