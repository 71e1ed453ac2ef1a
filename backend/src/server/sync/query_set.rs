//! The queries of one socket and the two versions of its state: what the client has told us, and what we have sent.
//!
//! A transition is [`QuerySet::begin`], a run of the plan at one timestamp, and [`QuerySet::complete`]; what arrives
//! between the two waits for the next. The sent version only ever moves by a transition, so that every transition starts
//! exactly where the one before it ended; anything else makes clients reconnect.
//!
//! A plan whose results are too many bytes is run in parts. Until the last one the version stays where it is
//! ([`QuerySet::part`]), because not everything is there yet that belongs to the next; the timestamp that the client
//! then gets is the first part's, which all parts have reached.

use std::collections::{HashMap, HashSet};
use std::mem;

use convex_sync_types::{Query, QueryId, QuerySetModification, StateVersion};
use serde_json::Value;
use thiserror::Error;

use super::fit::Fitted;
use super::messages;
use super::transition::Changes;
use crate::engine::{FunctionError, QueryOutcome};

/// The client broke the protocol. Terminates it: never for trouble of ours.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ProtocolError {
    #[error("base version mismatch: the {what} is at {ours}, the message is based on {theirs}")]
    BaseVersionMismatch {
        what: &'static str,
        ours: u32,
        theirs: u32,
    },
    #[error("the query set's version must grow: {base} to {new}")]
    VersionBackwards { base: u32, new: u32 },
    #[error("the query {0} is already in the query set")]
    DuplicateQuery(QueryId),
    #[error("the query {0} is not in the query set")]
    UnknownQuery(QueryId),
    #[error("too many queries on one connection: the limit is {0}")]
    TooManyQueries(usize),
}

/// A query as it is run again and again.
struct Watched {
    /// Path and arguments, or why it can never be run.
    target: Result<(String, Value), String>,
    stale: bool,
    /// Of the result last sent.
    fingerprint: Option<u64>,
}

/// One transition on its way.
pub(super) struct Plan {
    pub(super) removed: Vec<QueryId>,
    pub(super) runs: Vec<(QueryId, String, Value)>,
    failed: Vec<(QueryId, String)>,
    query_set: u32,
    identity: u32,
    /// Send it even if nothing changed: somebody waits for it.
    owed: bool,
    /// What the client has been told of already: it waits for a transition that is no older.
    not_before: u64,
    /// Of the first part.
    ts: Option<u64>,
}

impl Plan {
    pub(super) fn needs_engine(&self) -> bool {
        !(self.removed.is_empty() && self.runs.is_empty())
    }
}

pub(super) struct QuerySet {
    limit: usize,
    received_queries: u32,
    received_identity: u32,
    sent: StateVersion,
    /// The ids there are once `pending` is applied.
    known: HashSet<u32>,
    pending: Vec<QuerySetModification>,
    queries: HashMap<u32, Watched>,
    owed: bool,
    /// The latest timestamp in a response to a mutation.
    responded: u64,
}

impl QuerySet {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            received_queries: 0,
            received_identity: 0,
            sent: StateVersion::initial(),
            known: HashSet::new(),
            pending: Vec::new(),
            queries: HashMap::new(),
            owed: false,
            responded: 0,
        }
    }

    pub(super) fn modify(
        &mut self,
        base: u32,
        new: u32,
        modifications: Vec<QuerySetModification>,
    ) -> Result<(), ProtocolError> {
        check_base("query set", self.received_queries, base)?;
        if new <= base {
            return Err(ProtocolError::VersionBackwards { base, new });
        }
        for modification in &modifications {
            match modification {
                QuerySetModification::Add(query) => {
                    if !self.known.insert(query.query_id.get_id()) {
                        return Err(ProtocolError::DuplicateQuery(query.query_id));
                    }
                    if self.known.len() > self.limit {
                        return Err(ProtocolError::TooManyQueries(self.limit));
                    }
                }
                QuerySetModification::Remove { query_id } => {
                    if !self.known.remove(&query_id.get_id()) {
                        return Err(ProtocolError::UnknownQuery(*query_id));
                    }
                }
            }
        }
        self.pending.extend(modifications);
        self.received_queries = new;
        self.owed = true;
        Ok(())
    }

    pub(super) fn check_identity_base(&self, base: u32) -> Result<(), ProtocolError> {
        check_base("identity", self.received_identity, base)
    }

    /// The caller is somebody else now: every result may be another.
    pub(super) fn identity_changed(&mut self) {
        self.received_identity += 1;
        self.owed = true;
        for query in self.queries.values_mut() {
            query.stale = true;
        }
    }

    pub(super) fn identity_version(&self) -> u32 {
        self.received_identity
    }

    pub(super) fn mark_stale(&mut self, query: QueryId) {
        if let Some(query) = self.queries.get_mut(&query.get_id()) {
            query.stale = true;
        }
    }

    /// The next transition is sent even if it is empty.
    pub(super) fn owe_transition(&mut self) {
        self.owed = true;
    }

    /// A response has named this timestamp: npm's client settles the mutation at a transition that has reached it, and
    /// at no other. The staleness of every commit up to it must have been marked.
    pub(super) fn responded(&mut self, ts: u64) {
        self.responded = self.responded.max(ts);
        self.owe_transition();
    }

    /// What the next transition has to run, if there is a reason for one.
    pub(super) fn begin(&mut self) -> Option<Plan> {
        let owed = mem::take(&mut self.owed);
        if !owed && !self.queries.values().any(|query| query.stale) {
            return None;
        }
        let mut removed = Vec::new();
        for modification in mem::take(&mut self.pending) {
            match modification {
                QuerySetModification::Add(query) => {
                    self.queries
                        .insert(query.query_id.get_id(), Watched::new(query));
                }
                QuerySetModification::Remove { query_id } => {
                    self.queries.remove(&query_id.get_id());
                    removed.push(query_id);
                }
            }
        }
        removed.retain(|query| !self.queries.contains_key(&query.get_id()));
        let (mut runs, mut failed) = (Vec::new(), Vec::new());
        for (id, query) in &mut self.queries {
            if mem::take(&mut query.stale) {
                let id = QueryId::new(*id);
                match &query.target {
                    Ok((path, args)) => runs.push((id, path.clone(), args.clone())),
                    Err(reason) => failed.push((id, reason.clone())),
                }
            }
        }
        Some(Plan {
            removed,
            runs,
            failed,
            query_set: self.received_queries,
            identity: self.received_identity,
            owed,
            not_before: self.responded,
            ts: None,
        })
    }

    /// The changes to send ahead for a part of a plan, that ran at `ts`.
    pub(super) fn part(
        &mut self,
        plan: &mut Plan,
        ts: u64,
        outcomes: Vec<(QueryId, QueryOutcome)>,
        result_bytes: usize,
    ) -> Option<Changes> {
        plan.ts.get_or_insert(ts);
        let changes = self.changes(plan, self.sent, outcomes, result_bytes);
        (!changes.is_empty()).then_some(changes)
    }

    /// The changes to send for a plan whose last part ran at `ts`; `None` if nobody would notice.
    pub(super) fn complete(
        &mut self,
        mut plan: Plan,
        ts: u64,
        outcomes: Vec<(QueryId, QueryOutcome)>,
        result_bytes: usize,
    ) -> Option<Changes> {
        let ts = plan.ts.unwrap_or(ts).max(plan.not_before);
        let end = StateVersion {
            query_set: plan.query_set,
            identity: plan.identity,
            ts: messages::timestamp(ts).max(self.sent.ts),
        };
        let changes = self.changes(&mut plan, end, outcomes, result_bytes);
        if changes.is_empty() && !plan.owed {
            return None;
        }
        self.sent = end;
        Some(changes)
    }

    fn changes(
        &mut self,
        plan: &mut Plan,
        end: StateVersion,
        outcomes: Vec<(QueryId, QueryOutcome)>,
        result_bytes: usize,
    ) -> Changes {
        let mut changes = Changes::new(self.sent, end);
        for query in mem::take(&mut plan.removed) {
            changes.removed(query);
        }
        let failed = mem::take(&mut plan.failed).into_iter();
        let failed = failed.map(|(query, reason)| {
            let error = FunctionError {
                message: reason,
                data: None,
            };
            (query, Err(error), Vec::new())
        });
        let ran = outcomes
            .into_iter()
            .map(|(query, outcome)| (query, outcome.result, outcome.log_lines));
        for (query, result, log_lines) in ran.chain(failed) {
            let Some(watched) = self.queries.get_mut(&query.get_id()) else {
                continue;
            };
            let fitted = Fitted::new(result, log_lines, result_bytes);
            if watched.fingerprint.replace(fitted.fingerprint) != Some(fitted.fingerprint) {
                changes.result(query, fitted);
            }
        }
        changes
    }
}

impl Watched {
    fn new(query: Query) -> Self {
        let target = messages::arguments(&query.args)
            .map(|args| (messages::canonical(query.udf_path), args));
        Self {
            target,
            stale: true,
            fingerprint: None,
        }
    }
}

fn check_base(what: &'static str, ours: u32, theirs: u32) -> Result<(), ProtocolError> {
    if ours == theirs {
        return Ok(());
    }
    Err(ProtocolError::BaseVersionMismatch { what, ours, theirs })
}

#[cfg(test)]
#[path = "query_set_tests.rs"]
mod tests;
