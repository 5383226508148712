//! Clients connect, and subscribe, a given number of them at once.

use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::client::Happening;
use crate::client::Way;
use crate::crowd::Crowd;
use crate::tally;

/// Time before one that was refused tries again, where that is allowed.
const AGAIN: Duration = Duration::from_millis(50);

/// How clients come.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    pub way: Way,
    /// Handshakes that are under way at once.
    pub at_once: usize,
    /// Longest time without one more that has made it.
    pub patience: Duration,
    pub failing: Failing,
}

/// What becomes of clients that cannot connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// They are the end of the run.
    Ends,
    /// They try again, and whoever has not made it in the end is counted.
    TriesAgain,
}

/// How it went.
#[derive(Debug)]
pub struct Gathered {
    pub took: Duration,
    /// Nanoseconds from the start of a connection until the client may emit.
    pub connected: Histogram<u64>,
    /// Attempts that failed.
    pub failures: u64,
    /// Clients that have not made it.
    pub missing: usize,
}

/// What has happened in a turn.
#[derive(Default)]
struct News {
    connected: Vec<usize>,
    acknowledged: Vec<usize>,
    ended: Vec<(usize, String)>,
}

impl News {
    fn of_turn(crowd: &mut Crowd) -> Result<Self, String> {
        let mut news = Self::default();
        crowd.turn(AGAIN, &mut |number, happening| match happening {
            Happening::Connected => news.connected.push(number),
            Happening::Acknowledged => news.acknowledged.push(number),
            Happening::Event(_) => {}
            Happening::Ended(fault) => news.ended.push((number, fault)),
        })?;
        Ok(news)
    }
}

/// One of the clients.
#[derive(Clone, Copy)]
struct Place {
    started: Instant,
    ready: bool,
}

impl Gathering {
    /// Connects the clients `numbers` and subscribes each to the room that `room` says, if any.
    pub fn run(
        &self,
        crowd: &mut Crowd,
        numbers: Range<usize>,
        room: impl Fn(usize) -> Option<String>,
    ) -> Result<Gathered, String> {
        let (began, mut progress, mut tried) = (Instant::now(), Instant::now(), Instant::now());
        let mut gathered =
            Gathered { took: Duration::ZERO, connected: tally::histogram(), failures: 0, missing: 0 };
        let (mut waiting, mut again) = (numbers.clone(), Vec::new());
        let mut places = vec![Place { started: began, ready: false }; numbers.len()];
        let (mut under_way, mut ready, mut last) = (0, 0, String::new());
        while ready < numbers.len() {
            while under_way < self.at_once {
                let retried = if tried.elapsed() >= AGAIN { again.pop() } else { None };
                let Some(number) = retried.or_else(|| waiting.next()) else { break };
                if let Some(place) = places.get_mut(number - numbers.start) {
                    place.started = Instant::now();
                }
                crowd.connect(number, self.way)?;
                under_way += 1;
            }
            let mut news = News::of_turn(crowd)?;
            for number in news.connected {
                let Some(place) = number.checked_sub(numbers.start).and_then(|at| places.get(at)) else {
                    continue;
                };
                gathered.connected.saturating_record(nanoseconds(place.started.elapsed()));
                match room(number) {
                    Some(room) => crowd.emit(number, &format!("420[\"subscribe\",\"{room}\"]")),
                    None => news.acknowledged.push(number),
                }
            }
            for number in news.acknowledged {
                let place = number.checked_sub(numbers.start).and_then(|at| places.get_mut(at));
                let Some(place) = place.filter(|place| !place.ready) else { continue };
                place.ready = true;
                under_way -= 1;
                ready += 1;
                progress = Instant::now();
            }
            for (number, fault) in news.ended {
                if self.failing == Failing::Ends {
                    return Err(format!("client {} of {}: {fault}", number + 1, numbers.end));
                }
                let place = number.checked_sub(numbers.start).and_then(|at| places.get_mut(at));
                let Some(place) = place else { continue };
                // One that was ready may be lost again.
                *(if place.ready { &mut ready } else { &mut under_way }) -= 1;
                place.ready = false;
                gathered.failures += 1;
                again.push(number);
                tried = Instant::now();
                last = format!(", the last failure: {fault}");
            }
            if progress.elapsed() > self.patience {
                if self.failing == Failing::TriesAgain && ready > 0 {
                    break;
                }
                return Err(format!(
                    "only {ready} of {} clients have connected and subscribed, and none more in {:?}{last}",
                    numbers.len(),
                    self.patience
                ));
            }
        }
        gathered.took = if ready < numbers.len() { progress } else { Instant::now() }.duration_since(began);
        gathered.missing = numbers.len() - ready;
        Ok(gathered)
    }
}

pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
