//! Clients connect, and subscribe, a given number of them at once.

use std::ops::Range;
use std::time::Duration;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::around::Happening;
use crate::around::Way;
use crate::crowd::Crowd;
use crate::tally;
use crate::terminal::Progress;

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
    /// They are the end of the run. A subscription to which nothing is said is repeated, so that a server
    /// that loses some can be measured at all.
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
    /// Subscriptions that the server has not heard, so that they were repeated.
    pub repeated: u64,
}

impl Gathering {
    /// Connects the clients `numbers` and subscribes each to the room that `room` says, if any.
    pub fn run(
        &self,
        crowd: &mut Crowd,
        numbers: Range<usize>,
        room: impl Fn(usize) -> Option<String>,
    ) -> Result<Gathered, String> {
        let (mut run, mut progress) = (Run::new(self, numbers), Progress::new());
        while run.ready < run.places.len() {
            run.connect_more(crowd)?;
            let mut happened = Vec::new();
            crowd.turn(AGAIN, &mut |number, happening| match happening {
                Happening::Event(_) => {}
                Happening::Connected => happened.push((number, News::Connected)),
                Happening::Acknowledged => happened.push((number, News::Ready)),
                Happening::Ended(fault) => happened.push((number, News::Ended(fault))),
            })?;
            for (number, news) in happened {
                match news {
                    News::Connected => run.connected(crowd, number, room(number)),
                    News::Ready => run.is_ready(number),
                    News::Ended(fault) => run.ended(number, &fault)?,
                }
            }
            progress.tell(|| format!("{} of {} clients are there", run.ready, run.places.len()));
            if run.progress.elapsed() > self.patience / 2 && self.failing == Failing::Ends && !run.urged {
                run.repeat(crowd, &room);
            }
            if run.progress.elapsed() > self.patience {
                if self.failing == Failing::TriesAgain && run.ready > 0 {
                    break;
                }
                return Err(run.stuck());
            }
        }
        Ok(run.gathered())
    }
}

/// What a client has told.
enum News {
    Connected,
    Ready,
    Ended(String),
}

/// One of the clients.
#[derive(Clone, Copy)]
struct Place {
    started: Instant,
    connected: bool,
    ready: bool,
}

/// A gathering under way.
struct Run<'a> {
    how: &'a Gathering,
    began: Instant,
    /// When one more was ready.
    progress: Instant,
    /// When one failed.
    failed: Instant,
    first: usize,
    places: Vec<Place>,
    waiting: Range<usize>,
    again: Vec<usize>,
    under_way: usize,
    ready: usize,
    /// Whether subscriptions have been repeated since one more was ready.
    urged: bool,
    repeated: u64,
    fault: String,
    failures: u64,
    connected: Histogram<u64>,
}

impl<'a> Run<'a> {
    fn new(how: &'a Gathering, numbers: Range<usize>) -> Self {
        let now = Instant::now();
        Self {
            how,
            began: now,
            progress: now,
            failed: now,
            first: numbers.start,
            places: vec![Place { started: now, connected: false, ready: false }; numbers.len()],
            waiting: numbers,
            again: Vec::new(),
            under_way: 0,
            ready: 0,
            urged: false,
            repeated: 0,
            fault: String::new(),
            failures: 0,
            connected: tally::histogram(),
        }
    }

    fn place(&mut self, number: usize) -> Option<&mut Place> {
        self.places.get_mut(number.checked_sub(self.first)?)
    }

    fn connect_more(&mut self, crowd: &mut Crowd) -> Result<(), String> {
        while self.under_way < self.how.at_once {
            let again = if self.failed.elapsed() >= AGAIN { self.again.pop() } else { None };
            let Some(number) = again.or_else(|| self.waiting.next()) else { break };
            if let Some(place) = self.place(number) {
                place.started = Instant::now();
            }
            crowd.connect(number, self.how.way)?;
            self.under_way += 1;
        }
        Ok(())
    }

    fn connected(&mut self, crowd: &mut Crowd, number: usize, room: Option<String>) {
        let Some(place) = self.place(number) else { return };
        place.connected = true;
        let took = place.started.elapsed();
        self.connected.saturating_record(nanoseconds(took));
        match room {
            Some(room) => subscribe(crowd, number, &room),
            None => self.is_ready(number),
        }
    }

    fn is_ready(&mut self, number: usize) {
        let Some(place) = self.place(number).filter(|place| !place.ready) else { return };
        place.ready = true;
        self.under_way -= 1;
        self.ready += 1;
        self.progress = Instant::now();
        self.urged = false;
    }

    /// Subscribes again who has not been answered.
    fn repeat(&mut self, crowd: &mut Crowd, room: impl Fn(usize) -> Option<String>) {
        self.urged = true;
        let unheard = |(_, place): &(usize, &Place)| place.connected && !place.ready;
        for (number, _) in (self.first..).zip(&self.places).filter(unheard) {
            if let Some(room) = room(number) {
                subscribe(crowd, number, &room);
                self.repeated += 1;
            }
        }
    }

    fn ended(&mut self, number: usize, fault: &str) -> Result<(), String> {
        if self.how.failing == Failing::Ends {
            return Err(format!("client {} of {}: {fault}", number + 1, self.first + self.places.len()));
        }
        let Some(place) = self.place(number) else { return Ok(()) };
        // One that was ready may be lost again.
        place.connected = false;
        let ready = std::mem::take(&mut place.ready);
        *(if ready { &mut self.ready } else { &mut self.under_way }) -= 1;
        self.failures += 1;
        self.again.push(number);
        self.failed = Instant::now();
        self.fault = format!(", the last failure: {fault}");
        Ok(())
    }

    fn stuck(&self) -> String {
        let Self { ready, places, how, fault, .. } = self;
        let (all, patience) = (places.len(), how.patience);
        format!(
            "only {ready} of {all} clients have connected and subscribed, and none more in {patience:?}{fault}"
        )
    }

    fn gathered(self) -> Gathered {
        let missing = self.places.len() - self.ready;
        // The wait for those that never came is nobody's speed.
        let end = if missing > 0 { self.progress } else { Instant::now() };
        let took = end.duration_since(self.began);
        Gathered {
            took,
            connected: self.connected,
            failures: self.failures,
            missing,
            repeated: self.repeated,
        }
    }
}

fn subscribe(crowd: &mut Crowd, number: usize, room: &str) {
    crowd.emit(number, &format!("420[\"subscribe\",\"{room}\"]"));
}

pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
