//! How figures are printed: a header that says on what they were measured, and aligned columns.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Samples in nanoseconds.
pub struct Times(Histogram<u64>);

impl Times {
    pub fn new() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }

    pub fn add_ns(&mut self, nanoseconds: u64) {
        self.0.record(nanoseconds).expect("it grows by itself");
    }

    pub fn add(&mut self, time: Duration) {
        self.add_ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("it grows by itself");
    }

    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Nanoseconds.
    pub fn median(&self) -> u64 {
        self.0.value_at_quantile(0.5)
    }

    /// p50, p99, longest and number of samples, as cells.
    pub fn cells(&self) -> Vec<String> {
        vec![
            milliseconds(self.0.value_at_quantile(0.5)),
            milliseconds(self.0.value_at_quantile(0.99)),
            milliseconds(self.0.max()),
            self.len().to_string(),
        ]
    }
}

pub const TIMES: [&str; 4] = ["p50 ms", "p99 ms", "max ms", "samples"];

pub fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2}", nanoseconds as f64 / 1e6)
}

pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A title, and the names of the columns after the first.
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let head = std::iter::once(title)
            .chain(columns.iter().copied())
            .map(str::to_owned)
            .collect();
        Self { rows: vec![head] }
    }

    pub fn row(&mut self, name: &str, cells: Vec<String>) {
        let mut row = vec![name.to_owned()];
        row.extend(cells);
        self.rows.push(row);
    }

    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!();
        for (at, row) in self.rows.iter().enumerate() {
            let mut line = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            println!("{line}");
            if at == 0 {
                println!("{}", "-".repeat(line.chars().count()));
            }
        }
    }
}

/// What it was measured on.
pub fn header() {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            Some(
                line.strip_prefix("model name")?
                    .split_once(':')?
                    .1
                    .trim()
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let load: Vec<_> = read("/proc/loadavg")
        .split(' ')
        .take(3)
        .map(str::to_owned)
        .collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "orchestrator {}, {} build",
        env!("CARGO_PKG_VERSION"),
        build()
    );
    println!(
        "date     {}",
        jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z")
    );
    println!(
        "machine  {processor}, {cores} cores, {} {kernel}",
        std::env::consts::OS
    );
    println!(
        "load     {} (1, 5, 15 min) when this run began",
        load.join(" ")
    );
    println!("disk     {}", file_system(&super::files::root()));
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

/// The kind of file system a folder is on: a sync costs nothing on some.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let best = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, on, kind) = (fields.next()?, fields.next()?, fields.next()?);
            folder.starts_with(on).then_some((on.len(), kind))
        })
        .max();
    best.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}
