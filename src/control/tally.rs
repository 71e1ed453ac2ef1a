//! A report in numbers: what `orchestrator status` says in one line, and what the service manager is told.

use std::fmt;

use super::report::Report;
use crate::ui::format::plural;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub workers: usize,
    /// Workers that serve.
    pub ready: usize,
    pub sessions: usize,
    /// Sessions with a turn at work.
    pub active: usize,
    pub outbox: usize,
}

impl Tally {
    pub fn of(report: &Report) -> Self {
        let sessions = || report.workers.iter().flat_map(|worker| &worker.sessions);
        let ready = report.workers.iter().filter(|row| row.phase == "ready");
        Self {
            workers: report.workers.len(),
            ready: ready.count(),
            sessions: sessions().count(),
            active: sessions().filter(|row| row.phase == "active").count(),
            outbox: report.machine.outbox,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} ready; {}, {} active; outbox {}",
            plural(self.workers, "worker"),
            self.ready,
            plural(self.sessions, "session"),
            self.active,
            self.outbox,
        )
    }
}
