//! Watching what all processes of a sandbox use together, from outside.
//!
//! An unprivileged user has no cgroup to set a total in, so we add up. `/proc/PID/task/*/children`
//! leads from the launcher to every process inside: orphans hang below process 1, and nobody
//! leaves a process namespace.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Sums over the processes below one.
pub(crate) struct Watcher {
    root: u32,
    /// How many generations at the top are ours and do not count.
    ours: usize,
    page: u64,
    tick: f64,
    /// CPU time last seen of each process, also of those that are gone.
    cpu: HashMap<u32, Duration>,
    /// The most memory seen.
    pub(crate) peak: u64,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Private memory of all processes, in bytes.
    pub(crate) memory: u64,
    /// CPU time of all processes so far.
    pub(crate) cpu: Duration,
}

impl Watcher {
    /// Watches what is below `root`, leaving out `ours` generations from the top.
    pub(crate) fn new(root: u32, ours: usize) -> Self {
        Self {
            root,
            ours,
            page: rustix::param::page_size() as u64,
            tick: rustix::param::clock_ticks_per_second() as f64,
            cpu: HashMap::new(),
            peak: 0,
        }
    }

    /// Looks at every process once. One that comes or goes meanwhile may be missed till next time.
    pub(crate) fn sample(&mut self) -> Sample {
        let mut memory = 0;
        let mut generation = vec![self.root];
        let mut depth = 0;
        while !generation.is_empty() {
            if depth >= self.ours {
                for &pid in &generation {
                    memory += self.memory_of(pid);
                    if let Some(cpu) = self.cpu_of(pid) {
                        self.cpu.insert(pid, cpu);
                    }
                }
            }
            generation = generation.into_iter().flat_map(children).collect();
            depth += 1;
        }
        self.peak = self.peak.max(memory);
        Sample {
            memory,
            cpu: self.cpu(),
        }
    }

    /// CPU time seen so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu.values().sum()
    }

    /// Resident pages that belong to the process alone. Pages of files are the host's or on the
    /// sized disk; a page shared since a fork counts in each process.
    fn memory_of(&self, pid: u32) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut pages = statm
            .split_whitespace()
            .skip(1)
            .map(|n| n.parse().unwrap_or(0u64));
        let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        resident.saturating_sub(shared) * self.page
    }

    fn cpu_of(&self, pid: u32) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, also spaces and brackets; after the last one come numbers.
        let fields = stat.rsplit_once(')')?.1;
        let mut times = fields
            .split_whitespace()
            .skip(11)
            .map(|n| n.parse::<u64>().unwrap_or(0));
        let ticks = times.next()? + times.next()?;
        Some(Duration::from_secs_f64(ticks as f64 / self.tick))
    }
}

/// The processes that a process has started or adopted.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for thread in threads.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(
            listed
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}
