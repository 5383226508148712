//! What a process takes, as `/proc` tells it.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// What a process and those below it have taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time of the processor, of threads that live.
    pub processor: Duration,
    /// Memory that is resident, in bytes.
    pub memory: u64,
}

impl Usage {
    /// Of the process `pid` and those that it has started.
    pub fn of(pid: u32) -> Result<Self, String> {
        let mut usage = Self::of_one(pid).ok_or_else(|| {
            format!("cannot read /proc/{pid}: there is no such process, or it is somebody else's")
        })?;
        // One of these may have ended since it was listed.
        for one in descendants(pid).into_iter().filter_map(Self::of_one) {
            usage.processor += one.processor;
            usage.memory += one.memory;
        }
        Ok(usage)
    }

    fn of_one(pid: u32) -> Option<Self> {
        let mut processor = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            // A thread may end in between.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            processor += Duration::from_nanos(text.split(' ').next()?.parse().ok()?);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self { processor, memory: kilobytes * 1024 })
    }
}

/// All who descend from `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may have spaces.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((child, parent))
        })
        .collect();
    let (mut found, mut known, mut parent, mut at) = (Vec::new(), HashSet::from([pid]), Some(pid), 0);
    while let Some(of) = parent {
        let children = parents.iter().filter(|(child, parent)| *parent == of && known.insert(*child));
        found.extend(children.map(|(child, _)| child));
        parent = found.get(at).copied();
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_time() {
        let before = Usage::of(std::process::id()).unwrap();
        assert!(before.memory > 100_000, "{before:?}");
        // The scheduler counts at its ticks.
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::black_box(began);
        }
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.processor > before.processor, "{before:?} {after:?}");
    }

    #[test]
    fn what_it_has_started_counts_too() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 30 & echo started; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 8];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let (all, grandchildren) = (descendants(std::process::id()), descendants(shell.id()));
        assert!(all.contains(&shell.id()) && grandchildren.len() == 1, "{all:?} {grandchildren:?}");
        assert!(all.contains(&grandchildren[0]), "{all:?} {grandchildren:?}");
        let _ = std::process::Command::new("kill").arg(grandchildren[0].to_string()).status();
        shell.wait().unwrap();
    }

    #[test]
    fn nobody_is_not_measured() {
        assert!(Usage::of(u32::MAX).is_err());
    }
}
