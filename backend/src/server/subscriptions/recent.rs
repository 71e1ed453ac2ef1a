//! The last commits, so that a query can be answered as of a timestamp that is a little old.
//!
//! The engine reads only the latest state. A result is also that of an older timestamp if nothing it read has been
//! written since; that is what this remembers. It backs `query_at_ts` and forgets the oldest commits first.

use std::collections::VecDeque;

use crate::engine::{ReadSet, WriteSet};

const COMMITS: usize = 256;
const KEYS: usize = 65_536;

pub(in crate::server) struct RecentCommits {
    /// Everything committed after this timestamp is here.
    complete_after: u64,
    commits: VecDeque<(u64, WriteSet)>,
    keys: usize,
}

impl RecentCommits {
    pub(in crate::server) fn new(latest_ts: u64) -> Self {
        Self {
            complete_after: latest_ts,
            commits: VecDeque::new(),
            keys: 0,
        }
    }

    pub(in crate::server) fn push(&mut self, ts: u64, writes: WriteSet) {
        self.keys += writes.keys.len();
        self.commits.push_back((ts, writes));
        while self.commits.len() > COMMITS || self.keys > KEYS {
            let Some((ts, writes)) = self.commits.pop_front() else {
                return;
            };
            self.keys -= writes.keys.len();
            self.complete_after = ts;
        }
    }

    /// Whether a result that was just computed is also the one at `ts`.
    pub(in crate::server) fn holds_at(&self, ts: u64, reads: &ReadSet) -> bool {
        if ts < self.complete_after {
            return false;
        }
        !self
            .commits
            .iter()
            .any(|(committed, writes)| *committed > ts && reads.hit_by(writes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ReadRange;

    fn writes(key: u64) -> WriteSet {
        WriteSet {
            keys: vec![("a.b".into(), key.to_be_bytes().to_vec())],
        }
    }

    fn reads(key: u64) -> ReadSet {
        let from = key.to_be_bytes().to_vec();
        let to = Some((key + 1).to_be_bytes().to_vec());
        ReadSet {
            ranges: vec![ReadRange {
                index: "a.b".into(),
                from,
                to,
            }],
        }
    }

    #[test]
    fn an_old_result_holds_until_something_it_read_is_written() {
        let mut recent = RecentCommits::new(100);
        recent.push(101, writes(1));
        assert!(recent.holds_at(100, &reads(2)));
        assert!(!recent.holds_at(100, &reads(1)));
        assert!(recent.holds_at(101, &reads(1)));
        assert!(!recent.holds_at(99, &reads(2)));
    }

    #[test]
    fn the_oldest_commits_are_forgotten_and_then_not_answered_for() {
        let mut recent = RecentCommits::new(0);
        for ts in 1..=COMMITS as u64 + 10 {
            recent.push(ts, writes(ts));
        }
        assert!(!recent.holds_at(5, &reads(0)));
        assert!(recent.holds_at(10, &reads(0)));
    }
}
