//! What a process uses: the processor time of its threads so far, and what it holds in memory, by the kernel's account (`smaps_rollup`): resident, its proportional share (pages
//! of files and libraries divided among those who map them), and what is its own alone.

use std::fs;
use std::time::Duration;

pub const MEMORY: [&str; 4] = ["Rss", "Pss", "Private", "threads"];

/// Megabytes, as cells for [`MEMORY`].
pub fn held(pid: u32) -> Vec<String> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let sum = |names: &[&str]| {
        let kilobytes: u64 = rollup
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| names.contains(name))
            .filter_map(|(_, value)| value.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .sum();
        format!("{:.1}", kilobytes as f64 / 1024.0)
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    vec![
        sum(&["Rss"]),
        sum(&["Pss"]),
        sum(&["Private_Clean", "Private_Dirty"]),
        threads.to_string(),
    ]
}

/// Of all its threads that are there (`schedstat`).
fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Processor time of a process, from one look to the next.
pub struct Meter {
    pid: u32,
    last: Duration,
}

impl Meter {
    pub fn of(pid: u32) -> Self {
        let last = processor_time(pid);
        Self { pid, last }
    }

    pub fn since(&mut self) -> Duration {
        let now = processor_time(self.pid);
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }
}
