//! What connections weigh that do nothing.

use std::time::Duration;
use std::time::Instant;

use clap::Args;

use crate::around::Happening;
use crate::cli::Common;
use crate::cli::count;
use crate::cli::seconds;
use crate::modes::Found;
use crate::process::Usage;
use crate::report::Report;
use crate::report::ratio;

#[derive(Args, Debug)]
pub struct Idle {
    #[command(flatten)]
    pub common: Common,

    /// Clients that connect; from 10,000 on, if the server is at 127.0.0.1, they come from more addresses
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "10000")]
    clients: usize,

    /// Whether each subscribes to a room of its own
    #[arg(long)]
    subscribed: bool,

    /// Seconds from the last connection to the look at the memory
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    settle: Duration,
}

impl Idle {
    pub fn run(&self) -> Result<Found, String> {
        let Self { common, clients, subscribed, settle } = self;
        let pid = common.pid.ok_or("the memory of a server is that of its process: give it with --pid")?;
        let mut crowd = common.crowd(*clients)?;
        let before = Usage::of(pid)?.memory;
        let everyone = crowd.grow(*clients);
        common
            .gathering()
            .run(&mut crowd, everyone, |client| subscribed.then(|| format!("bench-{client}")))?;
        let mut ended = 0_u64;
        let began = Instant::now();
        while let Some(left) = settle.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            crowd.turn(left, &mut |_, happening| {
                ended += u64::from(matches!(happening, Happening::Ended(_)));
            })?;
        }
        let after = Usage::of(pid)?.memory;

        let mut report = Report::default();
        let count = *clients as u64;
        report.add("connections", count, "");
        report.add("connections_lost", ended, "");
        let kibibytes = ratio(after.saturating_sub(before), 1024.0 * ratio(count, 1.0));
        report.add_fraction("server_memory_per_connection", kibibytes, "KiB");
        report.add("server_memory", after / 1024, "KiB");
        Ok(Found { report, untrue: false })
    }
}
