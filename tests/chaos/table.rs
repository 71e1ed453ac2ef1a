//! The table at the end.

use std::fmt::Write;
use std::time::Duration;

use crate::account::Outcomes;
use crate::figures::Figures;
use crate::gauges::Seen;
use crate::options::Options;
use crate::phases::Holding;
use crate::schedule::Counts;
use crate::verdict::Verdict;

pub struct Report<'a> {
    pub options: &'a Options,
    pub counts: &'a Counts,
    pub missed: u32,
    pub lives: (u32, u32),
    pub outcomes: &'a Outcomes,
    pub figures: Vec<&'a Figures>,
    pub seen: &'a Seen,
    pub veteran: &'a Holding,
    pub fresh: &'a Holding,
    pub verdicts: Vec<&'a Verdict>,
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let mut out = String::new();
        let options = self.options;
        let _ = writeln!(
            out,
            "\nchaos  seed {}  {} min of faults  {} workers with {} sessions  {} starts of the supervisor, {} of the deployment\n",
            options.seed,
            options.minutes,
            options.workers,
            options.sessions,
            self.lives.0,
            self.lives.1
        );
        self.faults(&mut out);
        self.messages(&mut out);
        self.promises(&mut out);
        self.times(&mut out);
        self.gauges(&mut out);
        out
    }

    fn faults(&self, out: &mut String) {
        let total: u32 = self.counts.values().sum();
        let _ = writeln!(out, "{:<52}{total:>8}", "faults");
        for (fault, count) in self.counts {
            let _ = writeln!(out, "  {:<50}{count:>8}", fault.name());
        }
        let _ = writeln!(out, "  {:<50}{:>8}\n", "(found nobody to hit)", self.missed);
    }

    fn messages(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "{:<52}{:>8}",
            "messages accepted", self.outcomes.accepted
        );
        for (state, count) in &self.outcomes.by_state {
            let _ = writeln!(out, "  {state:<50}{count:>8}");
            for ((of, reason), count) in &self.outcomes.by_reason {
                if of == state {
                    let _ = writeln!(out, "    {reason:<48}{count:>8}");
                }
            }
        }
        let _ = writeln!(out);
    }

    fn count(&self, kinds: &[&str]) -> usize {
        let all = self.verdicts.iter();
        all.map(|verdict| kinds.iter().map(|kind| verdict.count(kind)).sum::<usize>())
            .sum()
    }

    fn promises(&self, out: &mut String) {
        let rows: [(&str, &[&str]); 6] = [
            ("lost", &["lost"]),
            ("duplicated", &["duplicated"]),
            ("out of order", &["order"]),
            ("content that is not what it should be", &["chunks", "text"]),
            ("orphans", &["orphan"]),
            ("leaked descriptors, locks, files, memory", &["leak"]),
        ];
        for (name, kinds) in rows {
            let _ = writeln!(out, "{name:<52}{:>8}", self.count(kinds));
        }
        let others = ["late", "ended", "file", "respawn"];
        let _ = writeln!(
            out,
            "{:<52}{:>8}\n",
            "other broken promises",
            self.count(&others)
        );
    }

    fn times(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "{:<52}{:>6}{:>11}{:>11}{:>11}",
            "times", "n", "p50", "p99", "max"
        );
        for figures in &self.figures {
            for (figure, row) in figures.rows() {
                let _ = writeln!(
                    out,
                    "  {:<50}{:>6}{:>11}{:>11}{:>11}",
                    figure.name(),
                    row.n,
                    shown(row.p50),
                    shown(row.p99),
                    shown(row.max)
                );
            }
        }
        let _ = writeln!(out);
    }

    fn gauges(&self, out: &mut String) {
        let seen = self.seen;
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<52}{value:>22}");
        };
        row("supervisor: peak memory", mb(seen.peak_memory));
        let pair = |a: String, b: String| format!("{a} / {b}");
        row(
            "  memory without children: after faults / fresh",
            pair(mb(self.veteran.memory), mb(self.fresh.memory)),
        );
        let slope = seen.slope();
        row(
            "  its slope, second half of the longest life",
            slope.map_or("too short a life".to_owned(), |(slope, seconds)| {
                format!("{slope:+.2} MB/min over {seconds:.0} s")
            }),
        );
        row("  descriptors: peak", seen.peak_descriptors.to_string());
        row(
            "  descriptors without children: after faults / fresh",
            pair(
                self.veteran.descriptors.len().to_string(),
                self.fresh.descriptors.len().to_string(),
            ),
        );
        row("most OpenCodes at once", seen.peak_agents.to_string());
        row("most finishes in the outbox", seen.peak_outbox.to_string());
        row("actors un-parked by hand", seen.unparked.to_string());
        for (key, depth) in &seen.mailboxes {
            row(&format!("largest `{key}`"), depth.to_string());
        }
    }
}

fn shown(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.2} s", ms / 1e3)
    }
}
