//! A report in numbers: what `orchestrator status` says in one line, and what the service manager is told.

use std::fmt;

use super::report::Report;
use crate::ui::format::plural;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub workers: usize,
    /// Workers that serve.
    pub ready: usize,
    pub sessions: usize,
    /// Sessions with a turn at work.
    pub active: usize,
    /// With a message that no assistant has yet: it starts, or waits for something.
    pub waiting: usize,
    /// What the first of them waits for.
    pub waits_for: Option<String>,
    pub outbox: usize,
}

impl Tally {
    pub fn of(report: &Report) -> Self {
        let sessions = || report.workers.iter().flat_map(|worker| &worker.sessions);
        // One whose owner is asked has its assistant, and a turn under way.
        let is_active = |phase: &str| matches!(phase, "active" | "waiting");
        let waiting = || sessions().filter(|row| row.turn.is_some() && !is_active(&row.phase));
        let ready = report.workers.iter().filter(|row| row.phase == "ready");
        Self {
            workers: report.workers.len(),
            ready: ready.count(),
            sessions: sessions().count(),
            active: sessions().filter(|row| is_active(&row.phase)).count(),
            waiting: waiting().count(),
            waits_for: waiting()
                .map(|row| row.detail.clone())
                .find(|detail| !detail.is_empty()),
            outbox: report.machine.outbox,
        }
    }

    fn told_waiting(&self) -> String {
        match (self.waiting, &self.waits_for) {
            (0, _) => String::new(),
            (count, Some(what)) => format!(", {count} waiting ({what})"),
            (count, None) => format!(", {count} waiting"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} ready; {}, {} active{}; outbox {}",
            plural(self.workers, "worker"),
            self.ready,
            plural(self.sessions, "session"),
            self.active,
            self.told_waiting(),
            self.outbox,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::tests::sample;

    #[test]
    fn a_message_of_a_session_that_is_starting_is_waiting() {
        let mut report = sample();
        assert_eq!(Tally::of(&report).told_waiting(), "");
        let session = &mut report.workers[0].sessions[0];
        session.phase = "starting".to_owned();
        assert_eq!(Tally::of(&report).told_waiting(), ", 1 waiting");
        report.workers[0].sessions[0].detail = "waits for a place".to_owned();
        let counts = Tally::of(&report);
        assert_eq!((counts.active, counts.waiting), (0, 1));
        assert_eq!(counts.told_waiting(), ", 1 waiting (waits for a place)");
    }
}
