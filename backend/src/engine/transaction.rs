//! What one call has read, written, scheduled and said so far, and its limits.
//!
//! It lives from the first line of a function to its last; the store's own transaction is around it. A failure that
//! no function may catch (a limit, a failing disk) is kept here and decides the call's end.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::api::{Identity, ReadRange, ReadSet, WriteSet};
use super::config::Limits;
use super::error::StorageError;
use super::range::Bounds;
use super::schema::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Mutation,
}

impl Kind {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "query" => Some(Self::Query),
            "mutation" => Some(Self::Mutation),
            _ => None,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Query => "Query",
            Self::Mutation => "Mutation",
        }
    }
}

/// Why an operation of a function failed.
#[derive(Debug)]
pub enum OpError {
    /// Thrown into the function, which may catch it.
    Thrown(String),
    /// Ends the call, caught or not.
    Fatal(String),
    /// The same, and the function is not to blame: a full or failing disk, or a damaged file.
    Storage { message: String, damage: bool },
}

impl From<StorageError> for OpError {
    fn from(error: StorageError) -> Self {
        Self::Storage {
            message: error.to_string(),
            damage: error.is_damage(),
        }
    }
}

impl From<String> for OpError {
    fn from(message: String) -> Self {
        Self::Thrown(message)
    }
}

/// The state of a call.
pub struct Transaction {
    pub kind: Kind,
    /// Frozen for the whole call.
    pub now_ms: u64,
    pub identity: Option<Identity>,
    pub fatal: Option<String>,
    /// The fatal failure was the disk's: another time the same call may succeed.
    pub storage_failed: bool,
    /// And it will fail the next time, too.
    pub damaged: bool,
    pub jobs_changed: bool,
    pub cursors: Vec<Cursor>,
    limits: Limits,
    reads: Vec<ReadRange>,
    writes: Vec<(Arc<str>, Vec<u8>)>,
    log_lines: Vec<String>,
    random: Option<StdRng>,
    /// For each nested mutation the number of writes before it.
    nested: Vec<usize>,
    used: Used,
}

#[derive(Default)]
struct Used {
    read_bytes: usize,
    read_documents: usize,
    read_ranges: usize,
    write_bytes: usize,
    write_documents: usize,
    scheduled: usize,
}

/// A query that is read row by row.
#[derive(Clone)]
pub struct Cursor {
    pub table: Arc<Table>,
    pub index: usize,
    pub bounds: Bounds,
    pub descending: bool,
    pub done: bool,
    /// Its entry among the reads.
    pub read: Option<usize>,
}

impl Transaction {
    pub fn new(kind: Kind, now_ms: u64, identity: Option<Identity>, limits: Limits) -> Self {
        Self {
            kind,
            now_ms,
            identity,
            fatal: None,
            storage_failed: false,
            damaged: false,
            jobs_changed: false,
            cursors: Vec::new(),
            limits,
            reads: Vec::new(),
            writes: Vec::new(),
            log_lines: Vec::new(),
            random: None,
            nested: Vec::new(),
            used: Used::default(),
        }
    }

    pub fn random(&mut self) -> f64 {
        let random = self
            .random
            .get_or_insert_with(|| StdRng::from_rng(&mut rand::rng()));
        rand::Rng::random(random)
    }

    /// Notes a range that is about to be read; only queries keep it, for their subscriptions.
    pub fn read_range(
        &mut self,
        index: &Arc<str>,
        bounds: &Bounds,
    ) -> Result<Option<usize>, OpError> {
        self.used.read_ranges += 1;
        within(
            self.used.read_ranges,
            self.limits.read_ranges,
            "index ranges read",
        )?;
        if self.kind == Kind::Mutation {
            return Ok(None);
        }
        self.reads.push(ReadRange {
            index: Arc::clone(index),
            from: bounds.from.clone(),
            to: bounds.to.clone(),
        });
        Ok(Some(self.reads.len() - 1))
    }

    /// Narrows a noted range to what was really looked at.
    pub fn narrow(&mut self, read: Option<usize>, bounds: Bounds) {
        if let Some(range) = read.and_then(|at| self.reads.get_mut(at)) {
            (range.from, range.to) = (bounds.from, bounds.to);
        }
    }

    /// Widens a noted range to what a cursor has looked at by now.
    pub fn extend(&mut self, read: Option<usize>, seen: &Bounds, descending: bool) {
        let Some(range) = read.and_then(|at| self.reads.get_mut(at)) else {
            return;
        };
        if descending {
            let untouched = range.to.as_ref() == Some(&range.from);
            if untouched {
                range.to.clone_from(&seen.to);
            }
            range.from.clone_from(&seen.from);
        } else {
            range.to.clone_from(&seen.to);
        }
    }

    pub fn read_document(&mut self, bytes: usize) -> Result<(), OpError> {
        self.used.read_documents += 1;
        self.used.read_bytes += bytes;
        within(
            self.used.read_documents,
            self.limits.read_documents,
            "documents read",
        )?;
        within(self.used.read_bytes, self.limits.read_bytes, "bytes read")
    }

    pub fn write_document(&mut self, bytes: usize) -> Result<(), OpError> {
        self.used.write_documents += 1;
        self.used.write_bytes += bytes;
        within(
            self.used.write_documents,
            self.limits.write_documents,
            "documents written",
        )?;
        within(
            self.used.write_bytes,
            self.limits.write_bytes,
            "bytes written",
        )
    }

    pub fn wrote(&mut self, index: &Arc<str>, key: Vec<u8>) {
        self.writes.push((Arc::clone(index), key));
    }

    pub fn schedule(&mut self) -> Result<(), OpError> {
        self.used.scheduled += 1;
        self.jobs_changed = true;
        within(
            self.used.scheduled,
            self.limits.scheduled,
            "functions scheduled",
        )
    }

    pub fn begin_nested(&mut self) {
        self.nested.push(self.writes.len());
    }

    pub fn has_open_parts(&self) -> bool {
        !self.nested.is_empty()
    }

    pub fn end_nested(&mut self, keep: bool) {
        if let Some(before) = self.nested.pop()
            && !keep
        {
            self.writes.truncate(before);
        }
    }

    pub fn log(&mut self, mut line: String) {
        let lines = self.log_lines.len();
        if lines > self.limits.log_lines {
            return;
        }
        if lines == self.limits.log_lines {
            line = format!("[WARN] 'log lines after the first {lines} are dropped'");
        }
        if line.len() > self.limits.log_line_bytes {
            let end = (0..=self.limits.log_line_bytes)
                .rev()
                .find(|at| line.is_char_boundary(*at))
                .unwrap_or(0);
            line.truncate(end);
            line.push_str(" (truncated)");
        }
        self.log_lines.push(line);
    }

    /// What the call leaves behind.
    pub fn finish(self) -> (ReadSet, WriteSet, Vec<String>) {
        let mut writes = self.writes;
        writes.sort_unstable();
        writes.dedup();
        (
            ReadSet::merged(self.reads),
            WriteSet { keys: writes },
            self.log_lines,
        )
    }
}

fn within(used: usize, limit: usize, what: &str) -> Result<(), OpError> {
    if used <= limit {
        return Ok(());
    }
    Err(OpError::Fatal(format!(
        "Too many {what} in a single function execution (limit: {limit}). Read less at once: use an index, a \
         smaller limit, or several calls."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(kind: Kind) -> Transaction {
        Transaction::new(
            kind,
            0,
            None,
            Limits {
                log_lines: 2,
                log_line_bytes: 8,
                ..Limits::default()
            },
        )
    }

    #[test]
    fn log_lines_are_bounded_in_number_and_length() {
        let mut call = transaction(Kind::Query);
        for _ in 0..5 {
            call.log("éééééé".into());
        }
        let (_, _, lines) = call.finish();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "éééé (truncated)");
    }

    #[test]
    fn writes_of_an_undone_part_are_forgotten() {
        let mut call = transaction(Kind::Mutation);
        let index: Arc<str> = "t.by_id".into();
        call.wrote(&index, vec![1]);
        call.begin_nested();
        call.wrote(&index, vec![2]);
        call.end_nested(false);
        call.wrote(&index, vec![1]);
        assert_eq!(call.finish().1.keys, vec![(index, vec![1])]);
    }
}
