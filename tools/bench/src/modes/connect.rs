//! Clients connect as fast as they can.

use clap::Args;

use crate::cli::Common;
use crate::cli::count;
use crate::gathering::Failing;
use crate::gathering::Gathering;
use crate::modes::Found;
use crate::process::Usage;
use crate::report::Report;
use crate::report::ratio;

#[derive(Args, Debug)]
pub struct Connect {
    #[command(flatten)]
    pub common: Common,

    /// Clients that connect
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "5000")]
    clients: usize,

    /// Whether each subscribes to a room in the moment in which it is connected; those that never hear that
    /// they are subscribed are counted
    #[arg(long)]
    subscribed: bool,
}

impl Connect {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, clients, subscribed } = self;
        let mut crowd = common.crowd(*clients)?;
        let everyone = crowd.grow(*clients);
        let before = common.pid.map(Usage::of).transpose()?;
        let gathered = Gathering { failing: Failing::TriesAgain, ..common.gathering() }.run(
            &mut crowd,
            everyone,
            |client| subscribed.then(|| format!("bench-{client}")),
        )?;
        let after = common.pid.map(Usage::of).transpose()?;

        let mut report = Report::default();
        let (count, seconds) = (*clients as u64, gathered.took.as_secs_f64());
        report.add("connections", count, "");
        report.add("connections_failed", gathered.failures, "");
        report.add("connections_missing", gathered.missing, "");
        report.add_fraction("connections_per_second", ratio(count, seconds).round(), "");
        report.add_latency("connected", &gathered.connected);
        if let (Some(before), Some(after)) = (before, after) {
            let processor = after.processor.saturating_sub(before.processor).as_secs_f64();
            report.add_fraction("server_cpu_per_connection", 1e6 * processor / ratio(count, 1.0), "µs");
            report.add_fraction("server_cpu", processor / seconds, "cores");
        }
        Ok(Found { report, untrue: gathered.failures > 0 || gathered.missing > 0 })
    }
}
