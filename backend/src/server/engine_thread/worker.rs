//! What the engine's thread does: take a command, run it, tell the connections what became stale; between commands,
//! run the scheduled functions that are due.
//!
//! After every commit, in this order: staleness to the connections, the public timestamp, the answer. So whoever has
//! seen a timestamp has the staleness of all commits up to it in its channel already.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use convex_sync_types::QueryId;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, warn};

use super::{Command, EngineEvent, Executor, MutationReply, Phase, QueryRun, Shared, SnapshotGone};
use crate::clock::now_ms;
use crate::engine::{Call, QueryOutcome, WriteSet};
use crate::server::subscriptions::{ConnectionId, RecentCommits, Subscriptions, Watcher};
use crate::server::sync::fit;

/// The wall clock may jump: due times are looked at again at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Between two rounds of scheduled functions, so that one which is always due does not starve the callers.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

pub(super) struct Worker {
    engine: Box<dyn Executor>,
    shared: Arc<Shared>,
    subscriptions: Subscriptions,
    connections: HashMap<ConnectionId, UnboundedSender<EngineEvent>>,
    recent: RecentCommits,
    next_due_ms: Option<u64>,
    /// Whether the phase has been told of trouble.
    troubled: bool,
    /// The latest failure that is known already: only later ones are news.
    failed_before: Option<String>,
}

impl Worker {
    pub(super) fn new(engine: Box<dyn Executor>, shared: Arc<Shared>) -> Self {
        let latest = engine.latest_ts();
        shared.latest_ts.store(latest, Ordering::Release);
        Self {
            next_due_ms: engine.next_due_ms(),
            failed_before: engine.failed_job(),
            troubled: engine.trouble().is_some(),
            engine,
            shared,
            subscriptions: Subscriptions::default(),
            connections: HashMap::new(),
            recent: RecentCommits::new(latest),
        }
    }

    /// What was found wrong already when the file was opened.
    pub(super) fn trouble(&self) -> Option<String> {
        self.engine.trouble()
    }

    /// Until it is told to stop, or nobody is left who could tell.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(self.wait()) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.run_due_jobs();
            self.tell_of_trouble();
        }
        if let Err(error) = self.engine.checkpoint() {
            warn!(error, "checkpoint failed");
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Attach { connection, events } => {
                self.connections.insert(connection, events);
            }
            Command::Queries {
                connection,
                dropped,
                runs,
                bytes,
            } => {
                for query in dropped {
                    self.subscriptions.forget(Watcher { connection, query });
                }
                let (outcomes, left) = self.run_watched(connection, runs, bytes);
                let ts = self.engine.latest_ts();
                let queried = EngineEvent::Queried { ts, outcomes, left };
                self.tell(connection, queried);
            }
            Command::Query { call, at, reply } => {
                // the caller may have hung up
                let _ = reply.send(self.query(&call, at));
            }
            Command::Mutation {
                call,
                record,
                reply,
            } => {
                let mut outcome = self.engine.mutation(&call, record.as_ref());
                self.committed(std::mem::take(&mut outcome.writes));
                self.next_due_ms = self.engine.next_due_ms();
                match reply {
                    // the caller may have hung up; the mutation stands either way
                    MutationReply::Caller(reply) => drop(reply.send(outcome)),
                    MutationReply::Connection(connection) => {
                        let request = record.map_or(0, |record| record.request_id);
                        self.tell(connection, EngineEvent::Mutated { request, outcome });
                    }
                }
            }
            Command::Detach(connection) => {
                self.connections.remove(&connection);
                self.subscriptions.forget_connection(connection);
            }
            Command::Stop => {}
            #[cfg(debug_assertions)]
            Command::Panic => panic!("a panic was asked for"),
        }
    }

    fn run_watched(
        &mut self,
        connection: ConnectionId,
        runs: Vec<QueryRun>,
        bytes: usize,
    ) -> (Vec<(QueryId, QueryOutcome)>, Vec<QueryRun>) {
        let mut outcomes = Vec::new();
        let mut left = runs.into_iter();
        let mut held = 0;
        while let Some(QueryRun { query, call }) = left.next() {
            let outcome = self.engine.query(&call);
            let watcher = Watcher { connection, query };
            self.subscriptions.watch(watcher, &outcome.reads);
            // of the last one nobody needs to know
            if let (Ok(value), true) = (&outcome.result, left.len() > 0) {
                held += fit::weight(value);
            }
            outcomes.push((query, outcome));
            if held >= bytes {
                break;
            }
        }
        (outcomes, left.collect())
    }

    fn query(&mut self, call: &Call, at: Option<u64>) -> Result<QueryOutcome, SnapshotGone> {
        let outcome = self.engine.query(call);
        match at {
            Some(ts) if !self.recent.holds_at(ts, &outcome.reads) => Err(SnapshotGone),
            _ => Ok(outcome),
        }
    }

    fn run_due_jobs(&mut self) {
        let now = now_ms();
        if self.next_due_ms.is_none_or(|due| due > now) {
            return;
        }
        let commits = self.engine.run_due_jobs(now);
        debug!(commits = commits.len(), "scheduled functions ran");
        for writes in commits {
            self.committed(writes);
        }
        self.next_due_ms = self.engine.next_due_ms();
        let failed = self.engine.failed_job();
        if failed != self.failed_before {
            self.shared.failed_job.send_replace(failed.clone());
            self.failed_before = failed;
        }
    }

    fn tell_of_trouble(&mut self) {
        let trouble = self.engine.trouble();
        if trouble.is_none() && !self.troubled {
            return;
        }
        self.troubled = trouble.is_some();
        let told = match trouble {
            Some(reason) => Phase::Troubled { reason },
            None => Phase::Ready,
        };
        self.shared.phase.send_if_modified(|phase| {
            // any other phase is the supervisor's
            let serves = matches!(phase, Phase::Ready | Phase::Troubled { .. });
            let changed = serves && *phase != told;
            if changed {
                *phase = told;
            }
            changed
        });
    }

    fn wait(&self) -> Duration {
        let Some(due) = self.next_due_ms else {
            return LONGEST_WAIT;
        };
        Duration::from_millis(due.saturating_sub(now_ms())).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    fn committed(&mut self, writes: WriteSet) {
        let ts = self.engine.latest_ts();
        if !writes.is_empty() {
            for watcher in self.subscriptions.hit_by(&writes) {
                self.tell(watcher.connection, EngineEvent::Stale(watcher.query));
            }
            self.recent.push(ts, writes);
        }
        self.shared.latest_ts.store(ts, Ordering::Release);
    }

    /// A connection that is gone has its `Detach` under way.
    fn tell(&self, connection: ConnectionId, event: EngineEvent) {
        if let Some(events) = self.connections.get(&connection) {
            let _ = events.send(event);
        }
    }
}
