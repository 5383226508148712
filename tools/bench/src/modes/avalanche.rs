//! All clients lose their connections at once, and come back.

use std::time::Duration;

use clap::Args;

use crate::cli::Common;
use crate::cli::count;
use crate::cli::seconds;
use crate::gathering::Failing;
use crate::gathering::Gathering;
use crate::modes::Found;
use crate::modes::bystander::Bystander;
use crate::process::Usage;
use crate::report::Report;
use crate::report::ratio;

#[derive(Args, Debug)]
pub struct Avalanche {
    #[command(flatten)]
    pub common: Common,

    /// Clients that lose their connections, and come back, `--at-once` at a time
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "5000")]
    clients: usize,

    /// Seconds before that, for comparison
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    quiet: Duration,
}

impl Avalanche {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, clients, quiet } = self;
        let mut crowd = common.crowd(*clients + 20)?;
        let room = |client| Some(format!("crowd-{}", client % 100));
        let everyone = crowd.grow(*clients);
        let gathering = Gathering { failing: Failing::TriesAgain, ..common.gathering() };
        let first = gathering.run(&mut crowd, everyone.clone(), room)?;
        if first.missing > 0 {
            return Err(format!("{} of {clients} clients could not even come", first.missing));
        }
        let mut bystander = Bystander::new(common)?;
        let before = bystander.alone(*quiet)?;

        let usage = common.pid.map(Usage::of).transpose()?;
        let (during, back) = bystander.during(|| {
            everyone.clone().for_each(|client| crowd.drop(client));
            gathering.run(&mut crowd, everyone.clone(), room)
        })?;
        let after = common.pid.map(Usage::of).transpose()?;

        let mut report = Report::default();
        report.add("clients", *clients as u64, "");
        report.add("clients_not_back", back.missing as u64, "");
        report.add("attempts_failed", back.failures, "");
        report.add_fraction("back_after", back.took.as_secs_f64(), "s");
        report.add_latency("connected", &back.connected);
        if let (Some(before), Some(after)) = (usage, after) {
            let processor = after.processor.saturating_sub(before.processor).as_secs_f64();
            report.add_fraction("server_cpu_per_return", 1e6 * processor / ratio(*clients as u64, 1.0), "µs");
            report.add("server_memory", after.memory / 1024, "KiB");
        }
        let untrue = !during.tally.is_true() || back.missing > 0;
        report.add_latency("bystander_quiet", &before.tally.latency);
        report.add_latency("bystander", &during.tally.latency);
        report.add("bystander_missing", during.tally.missing(), "");
        report.add("bystander_out_of_order", during.tally.disordered, "");
        Ok(Found { report, untrue })
    }
}
