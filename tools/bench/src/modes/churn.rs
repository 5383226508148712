//! Clients come and go.

use std::time::Duration;
use std::time::Instant;

use clap::Args;
use hdrhistogram::Histogram;

use crate::around::Happening;
use crate::cli::Common;
use crate::cli::count;
use crate::cli::seconds;
use crate::crowd::Crowd;
use crate::gathering::nanoseconds;
use crate::modes::Found;
use crate::modes::bystander::Bystander;
use crate::process::Usage;
use crate::report::Report;
use crate::report::ratio;
use crate::tally;

/// Longest wait of a turn: how evenly they come.
const BEAT: Duration = Duration::from_millis(5);

#[derive(Args, Debug)]
pub struct Churn {
    #[command(flatten)]
    pub common: Common,

    /// Clients that are there at any time
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "1000")]
    clients: usize,

    /// Clients that go in a second, without a word, and as many that come and subscribe
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "200")]
    rate: usize,

    /// Seconds for which they do
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    seconds: Duration,

    /// Seconds before that, for comparison
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    quiet: Duration,
}

/// How it went.
struct Churned {
    took: Duration,
    came: u64,
    /// Of them, those that have subscribed.
    subscribed: u64,
    failures: u64,
    /// Nanoseconds from the start of a connection until the client may emit.
    connected: Histogram<u64>,
}

impl Churn {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, clients, quiet, .. } = self;
        let mut crowd = common.crowd(*clients + 20)?;
        let everyone = crowd.grow(*clients);
        common.gathering().run(&mut crowd, everyone, |client| Some(room(client)))?;
        let mut bystander = Bystander::new(common)?;
        let before = bystander.alone(*quiet)?;
        let usage = common.pid.map(Usage::of).transpose()?;
        let (during, churned) = bystander.during(|| self.churn(&mut crowd))?;
        let after = common.pid.map(Usage::of).transpose()?;

        let mut report = Report::default();
        let Churned { took, came, subscribed, failures, connected } = churned;
        report.add("clients_that_came", came, "");
        report.add("clients_missing", came - subscribed, "");
        report.add("attempts_failed", failures, "");
        report.add_fraction("clients_per_second", ratio(subscribed, took.as_secs_f64()).round(), "");
        report.add_latency("connected", &connected);
        if let (Some(before), Some(after)) = (usage, after) {
            let processor = after.processor.saturating_sub(before.processor).as_secs_f64();
            report.add_fraction("server_cpu_per_client", 1e6 * processor / ratio(came, 1.0), "µs");
            report.add("server_memory_before", before.memory / 1024, "KiB");
            report.add("server_memory", after.memory / 1024, "KiB");
        }
        report.add_latency("bystander_quiet", &before.tally.latency);
        report.add_latency("bystander", &during.tally.latency);
        report.add("bystander_missing", during.tally.missing(), "");
        report.add("bystander_out_of_order", during.tally.disordered, "");
        Ok(Found { report, untrue: !during.tally.is_true() || failures > 0 || subscribed < came })
    }

    fn churn(&self, crowd: &mut Crowd) -> Result<Churned, String> {
        let (began, mut progress) = (Instant::now(), Instant::now());
        let mut started = vec![began; self.clients];
        let mut churned = Churned {
            took: Duration::ZERO,
            came: 0,
            subscribed: 0,
            failures: 0,
            connected: tally::histogram(),
        };
        loop {
            let elapsed = began.elapsed();
            let due = elapsed.min(self.seconds).as_secs_f64() * ratio(self.rate as u64, 1.0);
            while ratio(churned.came, 1.0) < due.floor() {
                let number = usize::try_from(churned.came).unwrap_or_default() % self.clients;
                crowd.connect(number, self.common.transport)?;
                if let Some(started) = started.get_mut(number) {
                    *started = Instant::now();
                }
                churned.came += 1;
            }
            let mut connected = Vec::new();
            crowd.turn(BEAT, &mut |number, happening| match happening {
                Happening::Connected => connected.push(number),
                Happening::Acknowledged => {
                    churned.subscribed += 1;
                    progress = Instant::now();
                }
                Happening::Ended(_) => churned.failures += 1,
                Happening::Event(_) => {}
            })?;
            for number in connected {
                let took = started.get(number).map(Instant::elapsed).unwrap_or_default();
                churned.connected.saturating_record(nanoseconds(took));
                crowd.emit(number, &format!("420[\"subscribe\",\"{}\"]", room(number)));
            }
            // Those that went before they had come are not waited for longer than the others.
            let all = churned.subscribed + churned.failures >= churned.came;
            if elapsed > self.seconds && (all || progress.elapsed() > self.common.patience) {
                churned.took = elapsed;
                return Ok(churned);
            }
        }
    }
}

fn room(client: usize) -> String {
    format!("crowd-{}", client % 100)
}
