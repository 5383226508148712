//! Messages from publishers to readers, at a pace, and what became of them.

use std::ops::Range;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::ClockId;
use nix::sys::timerfd::Expiration;
use nix::sys::timerfd::TimerFd;
use nix::sys::timerfd::TimerFlags;
use nix::sys::timerfd::TimerSetTimeFlags;

use crate::around::Happening;
use crate::crowd::Crowd;
use crate::gathering::nanoseconds;
use crate::marker;
use crate::marker::Marker;
use crate::outcome::Outcome;
use crate::process::Usage;
use crate::report::ratio;
use crate::tally::Plan;
use crate::tally::Tally;
use crate::terminal::Progress;

/// The finest that a rate is divided into.
const TICK: Duration = Duration::from_micros(100);
/// Time between two looks at clocks and flags while nothing happens.
const LOOK: Duration = Duration::from_millis(100);

/// When the next message is sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as fewer than this many have yet to reach all of their readers.
    Window(usize),
    /// So many a second, whatever becomes of them.
    Rate(f64),
}

/// What is sent, how long, and who is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub plan: Plan,
    pub pace: Pace,
    /// Bytes of a message.
    pub size: usize,
    /// Messages after which it ends, once they have arrived.
    pub most: Option<u64>,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Time that is measured.
    pub time: Duration,
    /// Ends that time early.
    pub stop: Option<&'a AtomicBool>,
    /// Longest wait for what is in flight while nothing arrives.
    pub patience: Duration,
    pub pid: Option<u32>,
}

impl Load<'_> {
    /// Publishes from the clients `senders` to `readers`, which have subscribed as the plan says.
    ///
    /// `aside` is called now and then, for whoever has something else to do with the crowd.
    pub fn run(
        &self,
        crowd: &mut Crowd,
        readers: Range<usize>,
        senders: Range<usize>,
        mut aside: impl FnMut(&mut Crowd),
    ) -> Result<Outcome, String> {
        let mut run = Run::new(self, readers, senders);
        let timer = self.timer(crowd)?;
        run.until(crowd, self.warm_up, timer.as_ref(), &mut aside)?;

        run.tally.latency.clear();
        let (start, published, delivered) = (Instant::now(), run.tally.published, run.tally.delivered);
        let before = self.usages()?;
        run.until(crowd, self.warm_up + self.time, timer.as_ref(), &mut aside)?;
        let (took, after) = (start.elapsed(), self.usages()?);
        let (published, delivered) = (run.tally.published - published, run.tally.delivered - delivered);
        // What arrives from here on is counted, but how long it takes is nobody's pace.
        let latency = run.tally.latency.clone();
        run.await_the_rest(crowd, &mut aside)?;
        run.tally.latency = latency;
        let server = after.1.map(|usage| {
            let before = before.1.unwrap_or_default().processor;
            (usage.processor.saturating_sub(before), usage.memory)
        });
        let own = after.0.processor.saturating_sub(before.0.processor);
        let Run { tally, others_ended, .. } = run;
        Ok(Outcome { tally, took, delivered, published, server, own, others_ended })
    }

    /// What this process and the server have taken.
    fn usages(&self) -> Result<(Usage, Option<Usage>), String> {
        Ok((Usage::of(std::process::id())?, self.pid.map(Usage::of).transpose()?))
    }

    /// What ends a turn when a message is due, at a rate.
    fn timer(&self, crowd: &mut Crowd) -> Result<Option<TimerFd>, String> {
        let Pace::Rate(rate) = self.pace else { return Ok(None) };
        let interval = Duration::from_secs_f64(1.0 / rate).max(TICK);
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
                .and_then(|timer| {
                    let expiration = Expiration::Interval(TimeSpec::from_duration(interval));
                    timer.set(expiration, TimerSetTimeFlags::empty())?;
                    Ok(timer)
                })
                .map_err(|error| format!("cannot make a timer: {error}"))?;
        crowd.watch(timer.as_fd().as_raw_fd())?;
        Ok(Some(timer))
    }
}

/// A run under way.
struct Run<'a> {
    load: &'a Load<'a>,
    tally: Tally,
    began: Instant,
    readers: Range<usize>,
    senders: Range<usize>,
    /// The stream that is next.
    cursor: usize,
    /// Events up to the mark, by stream.
    heads: Vec<String>,
    /// Events from behind the mark on.
    tail: String,
    event: String,
    /// When something was delivered last.
    heard: Instant,
    others_ended: u64,
    /// Unless it is a bystander's, whose line it is not.
    progress: Option<Progress>,
}

impl<'a> Run<'a> {
    fn new(load: &'a Load<'a>, readers: Range<usize>, senders: Range<usize>) -> Self {
        let heads = (0..load.plan.streams())
            .map(|stream| format!("42[\"publish\",\"{}\",\"", load.plan.room_of_stream(stream)))
            .collect();
        let filler = "x".repeat(load.size.saturating_sub(marker::LENGTH));
        let now = Instant::now();
        Self {
            load,
            tally: Tally::new(load.plan),
            began: now,
            readers,
            senders,
            cursor: 0,
            heads,
            tail: format!("{filler}\"]"),
            event: String::new(),
            heard: now,
            others_ended: 0,
            progress: load.stop.is_none().then(Progress::new),
        }
    }

    /// Goes on until `time` after the beginning, or until it is stopped.
    fn until(
        &mut self,
        crowd: &mut Crowd,
        time: Duration,
        timer: Option<&TimerFd>,
        aside: &mut impl FnMut(&mut Crowd),
    ) -> Result<(), String> {
        let stop = self.load.stop;
        while !stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            let Some(left) = time.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero()) else {
                break;
            };
            self.publish_what_is_due(crowd);
            if self.left() == 0 && self.tally.in_flight == 0 {
                break;
            }
            self.turn(crowd, left.min(LOOK))?;
            // It goes on only once it has been read, which says nothing new.
            let _ = timer.map(TimerFd::wait);
            aside(crowd);
            self.tell();
        }
        Ok(())
    }

    /// Messages that are still to be sent.
    fn left(&self) -> usize {
        let left = self.load.most.map(|most| most.saturating_sub(self.tally.published));
        left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn publish_what_is_due(&mut self, crowd: &mut Crowd) {
        match self.load.pace {
            Pace::Window(window) => {
                if self.heard.elapsed() > self.load.patience {
                    self.tally.write_off();
                    self.heard = Instant::now();
                }
                for _ in self.tally.in_flight..window.min(self.tally.in_flight.saturating_add(self.left())) {
                    self.publish(crowd, self.began.elapsed());
                }
            }
            Pace::Rate(rate) => {
                let now = self.began.elapsed();
                // Its time is when it was due, so that a generator that is late does not hide a wait.
                while let due = Duration::from_secs_f64(ratio(self.tally.published, rate))
                    && due <= now
                    && self.left() > 0
                {
                    self.publish(crowd, due);
                }
            }
        }
    }

    fn publish(&mut self, crowd: &mut Crowd, now: Duration) {
        let stream = self.cursor;
        self.cursor = (stream + 1) % self.heads.len();
        let (Some(head), Some(marker)) =
            (self.heads.get(stream), self.tally.publish(stream, nanoseconds(now)))
        else {
            return;
        };
        self.event.clear();
        self.event += head;
        marker.write(&mut self.event);
        self.event += &self.tail;
        crowd.emit(self.senders.start + stream % self.senders.len(), &self.event);
    }

    fn turn(&mut self, crowd: &mut Crowd, wait: Duration) -> Result<(), String> {
        let Self { tally, began, readers, senders, others_ended, .. } = self;
        let (before, mut fault, mut last, mut now) = (tally.delivered, None, usize::MAX, 0);
        crowd.turn(wait, &mut |number, happening| match happening {
            Happening::Event(packet) if readers.contains(&number) => {
                // What one socket had at once arrived at one time.
                if number != last {
                    (last, now) = (number, nanoseconds(began.elapsed()));
                }
                if let Some(marker) = Marker::find(packet) {
                    tally.deliver(number - readers.start, marker, now);
                }
            }
            Happening::Ended(_) if readers.contains(&number) => tally.lose(number - readers.start),
            Happening::Ended(text) if senders.contains(&number) => fault = Some(text),
            Happening::Ended(_) => *others_ended += 1,
            _ => {}
        })?;
        if self.tally.delivered > before {
            self.heard = Instant::now();
        }
        if let Some(fault) = fault {
            return Err(format!("a publisher: {fault}"));
        }
        if self.tally.readers_lost == self.load.plan.readers() as u64 {
            return Err("the server has ended the connections of all readers".into());
        }
        Ok(())
    }

    /// Until everything has arrived, or nothing more does.
    fn await_the_rest(
        &mut self,
        crowd: &mut Crowd,
        aside: &mut impl FnMut(&mut Crowd),
    ) -> Result<(), String> {
        let began = Instant::now();
        self.heard = began;
        while self.tally.in_flight > 0
            && self.heard.elapsed() < self.load.patience
            // Whoever sends what nobody has asked for must not hold this up for ever.
            && began.elapsed() < self.load.patience * 10
        {
            self.turn(crowd, LOOK)?;
            aside(crowd);
            self.tell();
        }
        Ok(())
    }

    /// Shows how far it is.
    fn tell(&mut self) {
        let Self { tally: Tally { published, delivered, in_flight, .. }, began, .. } = self;
        if let Some(progress) = &mut self.progress {
            let time = began.elapsed().as_secs_f64();
            progress.tell(|| {
                format!("{time:.0} s: {published} published, {delivered} delivered, {in_flight} in flight")
            });
        }
    }
}
