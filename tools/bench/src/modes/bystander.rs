//! Those who have nothing to do with what happens, and how their messages fare meanwhile.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::around::Way;
use crate::cli::Common;
use crate::crowd::Crowd;
use crate::gathering::Gathering;
use crate::load::Load;
use crate::load::Pace;
use crate::outcome::Outcome;
use crate::tally::Plan;

/// One room, in which ten clients hear a hundred messages a second.
const PLAN: Plan = Plan { rooms: 1, members: 10, voices: 1, publishers: 1 };
const RATE: f64 = 100.0;
/// No run is longer.
const LONGEST: Duration = Duration::from_hours(1);

/// Some clients in a thread of their own, so that what the others do does not delay them here.
#[derive(Debug)]
pub struct Bystander {
    crowd: Crowd,
    readers: Range<usize>,
    senders: Range<usize>,
    patience: Duration,
}

impl Bystander {
    /// Clients that have connected.
    pub fn new(common: &Common) -> Result<Self, String> {
        let mut crowd = common.crowd(PLAN.readers() + PLAN.publishers)?;
        let gathering = Gathering { way: Way::Websocket, ..common.gathering() };
        let readers = crowd.grow(PLAN.readers());
        gathering.run(&mut crowd, readers.clone(), |reader| Some(PLAN.room_of_reader(reader)))?;
        let senders = crowd.grow(PLAN.publishers);
        gathering.run(&mut crowd, senders.clone(), |_| None)?;
        Ok(Self { crowd, readers, senders, patience: common.patience })
    }

    /// How they fare for `time`.
    pub fn alone(&mut self, time: Duration) -> Result<Outcome, String> {
        self.run(time, None)
    }

    /// How they fare while `act` runs, and what came of that.
    pub fn during<T>(&mut self, act: impl FnOnce() -> Result<T, String>) -> Result<(Outcome, T), String> {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let bystander = scope.spawn(|| self.run(LONGEST, Some(&stop)));
            let acted = act();
            stop.store(true, Ordering::Relaxed);
            let outcome = bystander.join().map_err(|_| "the bystander has panicked".to_owned())??;
            Ok((outcome, acted?))
        })
    }

    fn run(&mut self, time: Duration, stop: Option<&AtomicBool>) -> Result<Outcome, String> {
        let load = Load {
            plan: PLAN,
            pace: Pace::Rate(RATE),
            size: 128,
            most: None,
            warm_up: Duration::ZERO,
            time,
            stop,
            patience: self.patience,
            pid: None,
        };
        load.run(&mut self.crowd, self.readers.clone(), self.senders.clone(), |_| {})
            .map_err(|fault| format!("the bystander: {fault}"))
    }
}
