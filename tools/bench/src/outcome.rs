//! What became of the messages of a run.

use std::time::Duration;

use crate::report::Report;
use crate::report::ratio;
use crate::tally::Tally;

/// What became of them. Counts of correctness are of the whole run, the others of the measured time.
#[derive(Debug)]
pub struct Outcome {
    pub tally: Tally,
    pub took: Duration,
    pub delivered: u64,
    pub published: u64,
    /// What the server took, and what it had in the end.
    pub server: Option<(Duration, u64)>,
    pub own: Duration,
    /// Connections that ended and were no reader's.
    pub others_ended: u64,
}

impl Outcome {
    /// The figures, in the order in which they are asked for.
    pub fn report(&self) -> Report {
        let Self { tally, took, delivered, published, server, own, .. } = self;
        let mut report = Report::default();
        let seconds = took.as_secs_f64();
        report.add_fraction("deliveries_per_second", ratio(*delivered, seconds).round(), "");
        report.add_fraction("publishes_per_second", ratio(*published, seconds).round(), "");
        report.add("expected", tally.expected, "deliveries");
        report.add("missing", tally.missing(), "");
        report.add("out_of_order", tally.disordered, "");
        report.add("astray", tally.astray, "");
        report.add("readers_lost", tally.readers_lost, "");
        report.add_latency("latency", &tally.latency);
        if let Some((processor, memory)) = server {
            let each =
                if *delivered > 0 { 1e6 * processor.as_secs_f64() / ratio(*delivered, 1.0) } else { 0.0 };
            report.add_fraction("server_cpu_per_delivery", each, "µs");
            report.add_fraction("server_cpu", processor.as_secs_f64() / seconds, "cores");
            report.add("server_memory", memory / 1024, "KiB");
        }
        report.add_fraction("own_cpu", own.as_secs_f64() / seconds, "cores");
        report
    }
}
