//! What a process holds: memory, file descriptors and tasks.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use super::DEADLINE;
use super::Daemon;
use super::http;

/// What a daemon holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Memory that is resident, in KiB.
    pub memory: u64,
    /// Open file descriptors.
    pub files: usize,
    /// Live tasks of its runtime.
    pub tasks: usize,
    /// Engine.IO sessions.
    pub sessions: usize,
}

impl Vitals {
    /// What `daemon` holds now; the connection that asks is part of it.
    pub fn of(daemon: &Daemon) -> Self {
        let process = daemon.process();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        let metrics = http::get(daemon.admin, "/metrics").text();
        let sum = |start: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(start));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are small counts")]
        let count = |start: &str| sum(start) as usize;
        Self {
            memory: memory.split_whitespace().next().unwrap().parse().unwrap(),
            files,
            tasks: count("tokio_live_tasks "),
            sessions: count("humble_broker_connections{"),
        }
    }

    /// The most of each among some moments: what is there while nobody does anything unusual.
    pub fn most(daemon: &Daemon) -> Self {
        Self::moments(daemon).reduce(Self::max).unwrap()
    }

    /// The least of each among some moments: what is there all the time.
    pub fn least(daemon: &Daemon) -> Self {
        Self::moments(daemon).reduce(Self::min).unwrap()
    }

    fn moments(daemon: &Daemon) -> impl Iterator<Item = Self> {
        (0..8).map(|_| {
            pause(Duration::from_millis(10));
            Self::of(daemon)
        })
    }

    /// Waits until `daemon` holds no more than `self` of everything but memory, and returns what it holds.
    ///
    /// `Err` is the least that it came down to.
    pub fn await_again(self, daemon: &Daemon) -> Result<Self, Self> {
        let began = Instant::now();
        let mut least = Self::of(daemon);
        loop {
            if least.files <= self.files && least.tasks <= self.tasks && least.sessions <= self.sessions {
                return Ok(least);
            }
            if began.elapsed() > DEADLINE {
                return Err(least);
            }
            pause(Duration::from_millis(20));
            least = least.min(Self::of(daemon));
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            files: self.files.max(other.files),
            tasks: self.tasks.max(other.tasks),
            sessions: self.sessions.max(other.sessions),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            memory: self.memory.min(other.memory),
            files: self.files.min(other.files),
            tasks: self.tasks.min(other.tasks),
            sessions: self.sessions.min(other.sessions),
        }
    }
}

/// Lets some time pass between two looks at something that nobody announces.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
