//! The avalanche: a node drains with as many clients as it has places, and all of them come back.

use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use nix::sys::signal::Signal;

use crate::crowd::ROOM;
use crate::support::Client;
use crate::support::Daemon;
use crate::support::Way;

/// Processes that clients live in.
const PROCESSES: u64 = 4;
/// The time over which sessions end, as it is set.
const SPREAD: Duration = Duration::from_secs(10);
/// `drain.timeout`, as it is set.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than that the process may take to end, on a busy machine.
const MARGIN: Duration = Duration::from_secs(15);
/// Longest time without any news.
const PATIENCE: Duration = Duration::from_secs(90);
/// Parts of the spread in each of which about as many sessions are to end.
const PARTS: usize = 5;

/// Fills a node with `clients`, drains it, and looks for all of them on a second one.
pub fn run(clients: u64) -> Result<(), String> {
    if !(100..=100_000).contains(&clients) {
        return Err(String::new());
    }
    let (spread, timeout) =
        (format!("drain.spread={}s", SPREAD.as_secs()), format!("drain.timeout={}s", TIMEOUT.as_secs()));
    let settings = ["--set", &spread, "--set", &timeout];
    let (mut first, second) = (Daemon::start(&settings), Daemon::start(&settings));
    let (told, news) = sync_channel(1000);
    let mut crowds: Vec<_> = (0..PROCESSES)
        .map(|n| {
            Crowd::start(clients / PROCESSES + u64::from(n < clients % PROCESSES), &first, &second, &told)
        })
        .collect();
    drop(told);

    let began = Instant::now();
    let count = usize::try_from(clients).map_err(|error| error.to_string())?;
    let mut happened = Happened::default();
    happened.await_until(&news, |happened| happened.connected == count)?;
    println!("{clients} clients have connected after {:.1} s", began.elapsed().as_secs_f64());

    // The last thing that is accepted before the signal is to reach everybody before the end.
    Client::connect(first.address, Way::WebSocket4).emit(&format!("[\"publish\",\"{ROOM}\",4711]"));
    first.signal(Signal::SIGTERM);
    let (signalled, stopping) = (SystemTime::now(), Instant::now());
    let node = std::thread::scope(|scope| {
        let node = scope.spawn(|| (first.wait_for(TIMEOUT + MARGIN), stopping.elapsed()));
        happened.await_until(&news, |happened| happened.back.len() == count)?;
        node.join().map_err(|_| "the node does not end".to_owned())
    });
    let (status, took) = node?;
    let ends = seconds_since(signalled, happened.ended.iter().copied());
    let backs = seconds_since(signalled, happened.back.iter().map(|(_, time)| *time));
    println!("the last session has ended after {:.1} s, of {SPREAD:?}", last(&ends));
    println!("the last client was back on the second node after {:.1} s", last(&backs));
    println!("the first node has ended after {:.1} s", took.as_secs_f64());
    for crowd in &mut crowds {
        crowd.leave();
    }
    if !status.success() {
        return Err(format!("the node ended with {status}: {}", first.log()));
    }
    if took > TIMEOUT || first.log().contains("cutting off") {
        return Err(format!("not all of them ended in order: {}", first.log()));
    }
    judge(&ends, &happened, second.address.port(), count)
}

/// Whether everyone was told all, ended in turn, and came back to the second node.
fn judge(ends: &[f64], happened: &Happened, second: u16, count: usize) -> Result<(), String> {
    if happened.in_order != count || ends.len() != count {
        return Err(format!(
            "only {} of {count} had the last message and then the code 1001",
            happened.in_order
        ));
    }
    let elsewhere = happened.back.iter().filter(|(port, _)| *port != second).count();
    if elsewhere > 0 {
        return Err(format!("{elsewhere} came back to the node that ended"));
    }
    // On a machine that the clients keep busy too, it takes longer, and still is to be even.
    let width = last(ends).max(SPREAD.as_secs_f64()) / 5.0;
    let parts: Vec<_> = (0..PARTS)
        .map(|part| {
            let from = width * f64::from(u32::try_from(part).unwrap_or(0));
            ends.iter().filter(|end| (from..from + width).contains(*end)).count()
        })
        .collect();
    println!("sessions that ended in each fifth of that time: {parts:?}");
    // An even share, give or take half of it: machines stutter.
    let share = count / PARTS;
    if parts.iter().any(|part| *part < share / 2 || *part > share * 3 / 2) {
        return Err(format!("they did not end evenly: {parts:?}"));
    }
    println!("{count} of {count} are back");
    Ok(())
}

fn last(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(0.0, f64::max)
}

/// When, after `start`, each of these times is, which are milliseconds since 1970.
fn seconds_since(start: SystemTime, times: impl Iterator<Item = u64>) -> Vec<f64> {
    let start = start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    times.map(|time| Duration::from_millis(time).saturating_sub(start).as_secs_f64()).collect()
}

/// What has become of the clients so far.
#[derive(Default)]
struct Happened {
    connected: usize,
    /// Of them, those that had the last message and then the code that is for the end.
    in_order: usize,
    ended: Vec<u64>,
    /// The ports of the nodes that they came back to, and when.
    back: Vec<(u16, u64)>,
}

impl Happened {
    /// Hears what clients tell until `done`.
    fn await_until(&mut self, news: &Receiver<String>, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        while !done(self) {
            let told = news.recv_timeout(PATIENCE).map_err(|_| {
                let Self { connected, ended, back, .. } = self;
                format!("no more news: {connected} connected, {} ended, {} back", ended.len(), back.len())
            })?;
            self.hear(&told).ok_or_else(|| format!("a client says: {told}"))?;
        }
        Ok(())
    }

    fn hear(&mut self, told: &str) -> Option<()> {
        let (what, time) = told.split_once(' ')?;
        let time = time.parse().ok()?;
        match what.split('-').collect::<Vec<_>>()[..] {
            ["connected"] => self.connected += 1,
            ["ended", code, number] => {
                self.ended.push(time);
                self.in_order += usize::from((code, number) == ("1001", "4711"));
            }
            ["back", port] => self.back.push((port.parse().ok()?, time)),
            _ => return None,
        }
        Some(())
    }
}

/// A process full of clients.
struct Crowd(Child);

impl Crowd {
    fn start(clients: u64, first: &Daemon, second: &Daemon, told: &SyncSender<String>) -> Self {
        let nodes =
            [first, second].map(|node: &Daemon| -> SocketAddr { node.address }).map(|node| node.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crowd", &clients.to_string()])
            .args(nodes)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, told) = (child.stdout.take().unwrap(), told.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        Self(child)
    }

    fn leave(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
