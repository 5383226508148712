//! The soak, and the benchmark of how much a bystander suffers: a program, not a test.
//!
//! `soak MINUTES` abuses a real daemon for that long and fails when it grows. `bystander ROUNDS` compares
//! how long messages take while it is abused and while it is not. `avalanche CLIENTS` fills a daemon, drains
//! it, and waits for all clients on a second one; `crowd CLIENTS NODES...` is one of its processes.

#![expect(unreachable_pub, reason = "there is nothing above the crate of a test")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it panics when it fails, and prints what it measures"
)]

mod avalanche;
mod crowd;
mod load;
#[expect(dead_code, reason = "it is shared with the integration tests, which use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use load::Load;
use support::Bystander;
use support::Daemon;
use support::Vitals;
use support::vitals::pause;

/// Deadlines that are short, so that what is abandoned is gone soon.
const TERMS: [&str; 8] = [
    "socketio.ping_interval=2s",
    "socketio.ping_timeout=4s",
    "socketio.connect_timeout=2s",
    "socketio.upgrade_timeout=2s",
    "limits.header_timeout=2s",
    "limits.body_timeout=2s",
    "limits.write_stall=2s",
    "limits.send_queue=500 kB",
];
/// How long the load runs before anything is measured: as long as a stalled client is left to stall.
const WARM_UP: Duration = Duration::from_secs(15);
/// Time between two samples.
const SAMPLE: Duration = Duration::from_secs(2);
/// Length of each half of a round of the benchmark.
const HALF: Duration = Duration::from_secs(6);
/// How much more memory the last quarter may take than the first, in percent.
const GROWTH: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["soak", minutes] => minutes.parse().map_or(Err(String::new()), soak),
        ["bystander", rounds] => rounds.parse().map_or(Err(String::new()), compare),
        ["avalanche", clients] => clients.parse().map_or(Err(String::new()), avalanche::run),
        ["crowd", clients, ref nodes @ ..] => {
            let nodes: Result<_, _> = nodes.iter().map(|node| node.parse()).collect();
            clients
                .parse()
                .ok()
                .zip(nodes.ok())
                .map_or(Err(String::new()), |(clients, nodes)| crowd::run(clients, nodes))
        }
        _ => Err(String::new()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) if fault.is_empty() => {
            eprintln!(
                "soak: write `soak MINUTES` or `bystander ROUNDS`, from 1 to 600, or `avalanche CLIENTS`, from 100"
            );
            ExitCode::from(64)
        }
        Err(fault) => {
            eprintln!("soak: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Daemon {
    let arguments: Vec<_> = TERMS.iter().flat_map(|setting| ["--set", setting]).collect();
    Daemon::start(&arguments)
}

fn soak(minutes: u64) -> Result<(), String> {
    if !(1..=600).contains(&minutes) {
        return Err(String::new());
    }
    let daemon = start();
    let bystander = Bystander::start(daemon.address);
    let quiet = Vitals::most(&daemon);

    println!(
        "{:>7} {:>10} {:>6} {:>6} {:>9} {:>9}",
        "seconds", "RSS KiB", "files", "tasks", "sessions", "p99 ms"
    );
    let load = Load::start(daemon.address);
    pause(WARM_UP);
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        pause(SAMPLE);
        let vitals = Vitals::of(&daemon);
        let report = bystander.verdict().map_err(|fault| format!("the bystander suffers: {fault}"))?;
        if load.has_failed() {
            break;
        }
        let Vitals { memory, files, tasks, sessions } = vitals;
        let (at, p99) = (began.elapsed().as_secs(), milliseconds(report.p99));
        println!("{at:>7} {memory:>10} {files:>6} {tasks:>6} {sessions:>9} {p99:>9.2}");
        samples.push(vitals);
    }
    let acts = load.finish()?;
    let report = bystander.verdict().map_err(|fault| format!("the bystander suffers: {fault}"))?;
    let after = quiet.await_again(&daemon);
    bystander.finish();
    println!("{acts} acts; the bystander: {report:?}");
    judge(&samples, quiet, after)
}

/// Whether the daemon has stayed as it was: in memory while it was abused, in all else afterwards.
fn judge(samples: &[Vitals], before: Vitals, after: Result<Vitals, Vitals>) -> Result<(), String> {
    let quarter = (samples.len() / 4).max(1);
    let memory = |samples: &[Vitals]| {
        let mut memory: Vec<_> = samples.iter().map(|vitals| vitals.memory).collect();
        memory.sort_unstable();
        memory[memory.len() / 2]
    };
    let (first, last) = (memory(&samples[..quarter]), memory(&samples[samples.len() - quarter..]));
    println!("median RSS: {first} KiB in the first quarter, {last} KiB in the last");
    println!("when quiet: {before:?} before, {after:?} after");
    if last * 100 > first * (100 + GROWTH) {
        return Err(format!("the daemon has grown from {first} to {last} KiB"));
    }
    after.map(drop).map_err(|least| format!("left behind: {before:?} has become {least:?}"))
}

fn compare(rounds: u64) -> Result<(), String> {
    if !(1..=600).contains(&rounds) {
        return Err(String::new());
    }
    let daemon = start();
    let (mut calm, mut abused) = (Vec::new(), Vec::new());
    println!("{:>5} {:>12} {:>14} {:>7}", "round", "quiet p99 ms", "abused p99 ms", "ratio");
    for round in 1..=rounds {
        // Each goes first every other time, so that neither always follows on the other's heels.
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for abuse in order {
            let load = abuse.then(|| Load::start(daemon.address));
            // Not counted: the first moments, in which the clients connect.
            pause(HALF / 6);
            let bystander = Bystander::start(daemon.address);
            pause(HALF);
            let p99 = bystander.finish().p99;
            if let Some(load) = load {
                load.finish()?;
            }
            if abuse { &mut abused } else { &mut calm }.push(p99);
        }
        let (quiet, loud) = (calm[calm.len() - 1], abused[abused.len() - 1]);
        let ratio = loud.as_secs_f64() / quiet.as_secs_f64();
        println!("{round:>5} {:>12.2} {:>14.2} {ratio:>7.1}", milliseconds(quiet), milliseconds(loud));
    }
    let (quiet, loud) = (median(&mut calm), median(&mut abused));
    let ratio = loud.as_secs_f64() / quiet.as_secs_f64();
    println!(
        "medians: {:.2} ms quiet, {:.2} ms abused, ratio {ratio:.1}",
        milliseconds(quiet),
        milliseconds(loud)
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
