//! Readers that do not keep up, beside those that do.

use std::time::Duration;
use std::time::Instant;

use clap::Args;

use crate::around::Happening;
use crate::around::Way;
use crate::cli::Common;
use crate::cli::Traffic;
use crate::cli::count;
use crate::crowd::Crowd;
use crate::gathering::Gathering;
use crate::modes::Found;
use crate::process::Usage;
use crate::tally::Plan;

/// Time between two sips of those that read little.
const SIP: Duration = Duration::from_millis(100);
/// What they take each time.
const LITTLE: usize = 1024;
/// Time between two of those that read everything, but seldom.
const SELDOM: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub struct Slow {
    #[command(flatten)]
    pub common: Common,

    /// Clients in the room that keep up
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "50")]
    readers: usize,

    /// Clients in the room that do not: a third never reads, a third reads 10 KiB a second, a third reads
    /// everything, but only every two seconds
    #[arg(long = "slow", value_name = "NUMBER", value_parser = count, default_value = "15")]
    laggards: usize,

    #[command(flatten)]
    traffic: Traffic,
}

/// The slow ones, and what is seen of them.
struct Laggards {
    numbers: Vec<usize>,
    sipped: Instant,
    drained: Instant,
    /// Messages that they have read after all.
    heard: u64,
    /// Those whose end was noticed while they read.
    ended: u64,
    /// The most memory that the server had, in bytes.
    memory: u64,
}

impl Slow {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, readers, laggards: slow, traffic } = self;
        let plan = Plan { rooms: 1, members: *readers, voices: 1, publishers: 1 };
        let mut crowd = common.crowd(readers + slow + 1)?;
        let gathering = common.gathering();
        let healthy = crowd.grow(*readers);
        gathering.run(&mut crowd, healthy.clone(), |_| Some(plan.room_of_reader(0)))?;
        let lagging = crowd.grow(*slow);
        gathering.run(&mut crowd, lagging.clone(), |_| Some(plan.room_of_reader(0)))?;
        let senders = crowd.grow(1);
        Gathering { way: Way::Websocket, ..gathering }.run(&mut crowd, senders.clone(), |_| None)?;
        lagging.clone().for_each(|number| crowd.slow_down(number));

        let now = Instant::now();
        let mut laggards =
            Laggards { numbers: lagging.collect(), sipped: now, drained: now, heard: 0, ended: 0, memory: 0 };
        let outcome = traffic
            .load(plan, common)
            .run(&mut crowd, healthy, senders, |crowd| laggards.lag(crowd, common.pid))?;
        let mut report = outcome.report();
        report.add("slow_readers", *slow as u64, "");
        report.add("slow_readers_closed", outcome.others_ended + laggards.ended, "by the server");
        report.add("slow_readers_heard", laggards.heard, "deliveries");
        if common.pid.is_some() {
            report.add("server_memory_most", laggards.memory / 1024, "KiB");
        }
        Ok(Found { report, untrue: !outcome.tally.is_true() })
    }
}

impl Laggards {
    fn lag(&mut self, crowd: &mut Crowd, pid: Option<u32>) {
        if self.sipped.elapsed() < SIP {
            return;
        }
        self.sipped = Instant::now();
        let seldom = self.drained.elapsed() > SELDOM;
        if seldom {
            self.drained = self.sipped;
        }
        let Self { numbers, heard, ended, memory, .. } = self;
        for (at, number) in numbers.iter().enumerate() {
            let most = match at % 3 {
                0 => continue,
                1 => LITTLE,
                _ if seldom => usize::MAX / 2,
                _ => continue,
            };
            crowd.sip(*number, most, &mut |_, happening| match happening {
                Happening::Event(_) => *heard += 1,
                Happening::Ended(_) => *ended += 1,
                _ => {}
            });
        }
        if let Some(Ok(usage)) = pid.map(Usage::of) {
            *memory = usage.memory.max(*memory);
        }
    }
}
