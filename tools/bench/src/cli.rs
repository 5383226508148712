//! The command line, whose help is the manual.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::around::Version;
use crate::around::Way;
use crate::crowd;
use crate::crowd::Crowd;
use crate::crowd::Target;
use crate::gathering::Failing;
use crate::gathering::Gathering;
use crate::load::Load;
use crate::load::Pace;
use crate::marker;
use crate::modes::Avalanche;
use crate::modes::Churn;
use crate::modes::Connect;
use crate::modes::Fanout;
use crate::modes::Found;
use crate::modes::Idle;
use crate::modes::Rooms;
use crate::modes::Slow;
use crate::tally::Plan;

/// A run that has found deliveries missing, out of order or astray.
const UNTRUE: u8 = 3;

/// Runs the program with the arguments of this process.
pub fn run() -> Result<ExitCode, String> {
    let Arguments { mode } = Arguments::parse();
    let (common, found) = match &mode {
        Mode::Fanout(mode) => (&mode.common, mode.run()),
        Mode::Rooms(mode) => (&mode.common, mode.run()),
        Mode::Connect(mode) => (&mode.common, mode.run()),
        Mode::Idle(mode) => (&mode.common, mode.run()),
        Mode::Churn(mode) => (&mode.common, mode.run()),
        Mode::Avalanche(mode) => (&mode.common, mode.run()),
        Mode::Slow(mode) => (&mode.common, mode.run()),
    };
    let Found { report, untrue } = found?;
    report.print(common.json).map_err(|error| format!("cannot print the report: {error}"))?;
    Ok(if untrue { ExitCode::from(UNTRUE) } else { ExitCode::SUCCESS })
}

/// Measures a Socket.IO broker: deliveries, losses, order, latency, processor time and memory.
///
/// The server must know the events of socketio-humble-broker: `subscribe` and `unsubscribe` with a room,
/// `publish` with a room and a message, which reaches the room's subscribers as `data` with the same two, and
/// an acknowledgement of each if the client asks for one. Everything runs in one thread that takes far less
/// than a server; what it took is in each report as `own cpu`. A figure near 1 there says that the
/// generator was the limit.
#[derive(Debug, Parser)]
#[command(name = "socketio-bench", version, disable_help_subcommand = true, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Publishes to one room that many read in
    Fanout(Fanout),
    /// Publishes to many rooms that few read in
    Rooms(Rooms),
    /// Counts how many clients a second can connect
    Connect(Connect),
    /// Weighs connections that do nothing
    Idle(Idle),
    /// Has clients come and go, and looks at how a bystander fares
    Churn(Churn),
    /// Cuts all connections at once, and looks at how the clients come back and a bystander fares
    Avalanche(Avalanche),
    /// Publishes to readers of which some do not keep up
    Slow(Slow),
}

const EXAMPLES: &str = "\
Examples:
  One room with 1,000 readers, one message at a time, and what a delivery costs the server:
      socketio-bench fanout 127.0.0.1:5000 --pid $(pidof socketio-humble-broker)
  How much goes through, 32 messages in flight from 10 publishers, and whether any is lost:
      socketio-bench fanout 127.0.0.1:5000 --readers 100 --publishers 10 --window 32
  Latency at 30,000 deliveries a second, rather than as fast as it goes:
      socketio-bench fanout 127.0.0.1:5000 --readers 100 --rate 300
  From one node to another, 64 messages in flight:
      socketio-bench fanout 127.0.0.1:5000 --publish-at 127.0.0.1:5001 --readers 10 --window 64
  1,000 rooms of 5 readers:
      socketio-bench rooms 127.0.0.1:5000 --rooms 1000 --readers 5 --window 64
  As JavaScript clients connect; and as clients of 2019 do:
      socketio-bench fanout 127.0.0.1:5000 --transport upgrade
      socketio-bench fanout 127.0.0.1:5000 --transport polling --engine 3
  Whether a burst of 10,000 messages is lost to anybody who keeps reading:
      socketio-bench fanout 127.0.0.1:5000 --readers 200 --messages 10000 --window 10000
  Memory of 10,000 connections that do nothing:
      socketio-bench idle 127.0.0.1:5000 --clients 10000 --pid 4711
  Clients that come and go, 500 a second; and 18,000 that lose their connections and come back at once:
      socketio-bench churn 127.0.0.1:5000 --rate 500
      socketio-bench avalanche 127.0.0.1:5000 --clients 18000
  Readers that do not keep up, beside those that do:
      socketio-bench slow 127.0.0.1:5000 --slow 30 --pid 4711
  For a script:
      socketio-bench connect 127.0.0.1:5000 --clients 5000 --json | jq .connections_per_second

Counts of correctness:
  missing        deliveries that were to be and had not come when nothing came for --patience
  out of order   deliveries after a later one of the same publisher and room, or for the second time
  astray         deliveries to a client that is not in that room
  readers lost   connections of readers that the server has closed
  subscriptions lost   those that the server did not answer, and that were repeated before the run
The exit code is 0; 3 when one of them is not 0, unless the mode is there to provoke it; 1 when the run failed;
2 when the command line is not valid.

Processor time comes from /proc/PID/task/*/schedstat, of the process and all below it. Figures of a machine
that does something else too can be compared within a minute, in turns, and no further. Instructions are
steadier; they are not counted here: use `perf stat -p PID`, or callgrind.";

/// What holds for every mode.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Host and port of the server, like `127.0.0.1:5000`
    server: String,

    /// How clients connect; publishers always use WebSocket
    ///
    /// `upgrade` begins with polling and goes over to WebSocket, as JavaScript clients do. A client that
    /// polls has one connection, on which it posts between two polls: in Engine.IO 3, whose heartbeats are the
    /// client's, it does not live for long where nothing is sent to it.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Way,

    /// Version of Engine.IO: 4 is of Socket.IO 3 and later, 3 of Socket.IO 2
    #[arg(long, value_enum, default_value = "4")]
    engine: Version,

    /// Path of the server
    #[arg(long, default_value = "/socket.io/")]
    path: String,

    /// Token to show when connecting
    #[arg(long)]
    token: Option<String>,

    /// Process of the server, on this machine: adds its processor time and memory to the report
    #[arg(long)]
    pub pid: Option<u32>,

    /// Seconds to wait for what does not come
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub patience: Duration,

    /// Handshakes that are under way at once
    #[arg(long, value_name = "NUMBER", value_parser = count, default_value = "100")]
    pub at_once: usize,

    /// Prints one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl Common {
    pub fn target(&self) -> Result<Target, String> {
        self.target_at(&self.server)
    }

    /// What clients connect to at `server`, which is another node.
    pub fn target_at(&self, server: &str) -> Result<Target, String> {
        Target::new(server, &self.path, self.engine, self.token.as_deref())
    }

    /// Nobody yet, but room for `clients`.
    pub fn crowd(&self, clients: usize) -> Result<Crowd, String> {
        let sockets = if self.transport == Way::Upgrade { clients + self.at_once } else { clients };
        crowd::allow_sockets(sockets)?;
        Crowd::new(self.target()?)
    }

    /// How readers come.
    pub fn gathering(&self) -> Gathering {
        Gathering {
            way: self.transport,
            at_once: self.at_once,
            patience: self.patience,
            failing: Failing::Ends,
        }
    }
}

/// What is published, and how fast.
#[derive(Args, Clone, Debug)]
pub struct Traffic {
    /// Host and port that publishers connect to, where that is another node than the readers'
    #[arg(long, value_name = "SERVER")]
    pub publish_at: Option<String>,

    /// Bytes of a message
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "128")]
    size: usize,

    /// Messages in flight: the next one is sent when all readers have one of them [default: 1]
    #[arg(long, value_name = "MESSAGES", value_parser = count, conflicts_with = "rate")]
    window: Option<usize>,

    /// Messages a second, whether they arrive or not; times count from when each was due
    #[arg(long, value_name = "MESSAGES", value_parser = rate)]
    rate: Option<f64>,

    /// Messages that are sent in all; the run ends with their last delivery [default: as many as fit]
    #[arg(long, value_name = "NUMBER", value_parser = count, conflicts_with_all = ["seconds", "warm_up"])]
    messages: Option<usize>,

    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    seconds: Duration,

    /// Seconds before that, which are not
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    warm_up: Duration,
}

impl Traffic {
    pub fn load(&self, plan: Plan, common: &Common) -> Load<'static> {
        Load {
            plan,
            pace: self.rate.map_or(Pace::Window(self.window.unwrap_or(1)), Pace::Rate),
            size: self.size,
            most: self.messages.map(|most| most as u64),
            warm_up: if self.messages.is_some() { Duration::ZERO } else { self.warm_up },
            // With a number of messages it is a bound only.
            time: if self.messages.is_some() { Duration::from_mins(10) } else { self.seconds },
            stop: None,
            patience: common.patience,
            pid: common.pid,
        }
    }
}

/// A length of time, at most an hour.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= Duration::from_hours(1))
        .ok_or_else(|| "write seconds from 0 to 3600, like `2.5`".to_owned())
}

/// A number of things of which there is at least one.
pub fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| "write a number from 1 to 1000000".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "write a number from 0.1 to 10000000".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    const MOST: usize = 128 * 1024;
    let size = text.parse().ok().filter(|size| (marker::LENGTH..=MOST).contains(size));
    size.ok_or_else(|| format!("write a number from {} (the mark in each message) to {MOST}", marker::LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_example_is_valid() {
        let mut seen = 0;
        for line in EXAMPLES.lines().filter_map(|line| line.strip_prefix("      ")) {
            let line = line.split('|').next().unwrap().replace("$(pidof socketio-humble-broker)", "1");
            if let Err(error) = Arguments::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
            seen += 1;
        }
        assert!(seen >= 7, "only {seen} examples");
    }
}
