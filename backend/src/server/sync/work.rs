//! What a connection gives to the engine and what it does with the answers: one mutation at a time, one transition at a
//! time, responses before the transition that shows them.

use std::time::Instant;

use convex_sync_types::QueryId;
use tracing::warn;

use super::connection::{Connection, End, SERVICE_RESTART, TRY_AGAIN_LATER, Underway};
use super::messages;
use super::query_set::Plan;
use super::transition::Changes;
use crate::engine::{Call, QueryOutcome};
use crate::server::engine_thread::{Command, EngineEvent, MutationReply, QueryRun};

impl Connection {
    pub(super) fn start_mutation(&mut self) {
        while let Some(mutation) = self.mutations.next() {
            match mutation.run {
                Ok((call, record)) => {
                    self.mutations.started();
                    self.tell_engine(Command::Mutation {
                        call,
                        record: Some(record),
                        reply: MutationReply::Connection(self.id),
                    });
                }
                Err(reason) => {
                    let refusal = messages::mutation_refused(mutation.request, reason);
                    self.outbound.send(refusal);
                    self.queries.owe_transition();
                }
            }
        }
    }

    /// Starts the next transition, or runs the next part of the one under way.
    pub(super) fn start_transition(&mut self, ts: u64) {
        if let Some(underway) = self.transition.take_if(|underway| underway.asked.is_none()) {
            self.ask(underway.plan, Vec::new(), underway.left);
            return;
        }
        if self.transition.is_some() {
            return;
        }
        let Some(mut plan) = self.queries.begin() else {
            return;
        };
        if !plan.needs_engine() {
            let changes = self.queries.complete(plan, ts, Vec::new(), usize::MAX);
            self.send_changes(changes);
            return;
        }
        let identity = self.identity();
        let runs = std::mem::take(&mut plan.runs)
            .into_iter()
            .map(|(query, path, args)| QueryRun {
                query,
                call: Call {
                    path,
                    args,
                    identity: identity.clone(),
                },
            })
            .collect();
        let dropped = plan.removed.clone();
        self.ask(plan, dropped, runs);
    }

    fn ask(&mut self, plan: Plan, dropped: Vec<QueryId>, runs: Vec<QueryRun>) {
        let command = Command::Queries {
            connection: self.id,
            dropped,
            runs,
            bytes: self.app.tuning.part_bytes,
        };
        self.transition = Some(Underway {
            plan,
            asked: Some(Instant::now()),
            left: Vec::new(),
        });
        self.tell_engine(command);
    }

    fn queried(
        &mut self,
        ts: u64,
        outcomes: Vec<(QueryId, QueryOutcome)>,
        left: Vec<QueryRun>,
    ) -> Result<(), End> {
        let Some(Underway { mut plan, .. }) = self.transition.take() else {
            return Ok(());
        };
        let failed = outcomes
            .iter()
            .find_map(|(_, outcome)| outcome.result.as_ref().err().filter(|_| outcome.internal));
        if let Some(error) = failed {
            // sent as an answer, it would stay one until a commit touches what the query never got to read
            warn!(
                error = error.message,
                "a subscription failed for a reason of ours"
            );
            let reason = "the deployment could not run a query: try again".to_owned();
            return Err(End::Close(SERVICE_RESTART, reason));
        }
        let limit = self.app.tuning.result_bytes;
        let changes = if left.is_empty() {
            self.queries.complete(plan, ts, outcomes, limit)
        } else {
            let changes = self.queries.part(&mut plan, ts, outcomes, limit);
            self.transition = Some(Underway {
                plan,
                asked: None,
                left,
            });
            changes
        };
        self.send_changes(changes);
        Ok(())
    }

    fn send_changes(&mut self, changes: Option<Changes>) {
        let Some(changes) = changes else { return };
        let skew = self.session.as_ref().and_then(|session| session.clock_skew);
        let limit = self.app.tuning.transition_bytes;
        for message in changes.into_messages(skew, limit) {
            self.outbound.send(message);
        }
    }

    /// `Err` ends the socket: a failing disk is no answer. The client keeps its mutation and sends it again, after a pause
    /// that grows, and it is run when it can be; told of a failure, it would take it for the function's.
    pub(super) fn engine_said(&mut self, event: EngineEvent) -> Result<(), End> {
        match event {
            EngineEvent::Stale(query) => self.queries.mark_stale(query),
            EngineEvent::Mutated { outcome, .. } if outcome.storage_failed => {
                let reason = outcome.result.err().map(|error| error.message);
                let reason = reason.unwrap_or_default();
                warn!(error = reason, "cannot write");
                return Err(End::Close(
                    TRY_AGAIN_LATER,
                    refusal_to_write(&reason).to_owned(),
                ));
            }
            EngineEvent::Mutated { request, outcome } => {
                self.mutations.finished();
                let limit = self.app.tuning.result_bytes;
                // of this commit the staleness has come before this event, but the public timestamp that the next
                // transition starts with may have been read before the commit
                self.queries.responded(outcome.ts);
                self.outbound
                    .send(messages::mutation_response(request, outcome, limit));
            }
            EngineEvent::Queried { ts, outcomes, left } => return self.queried(ts, outcomes, left),
        }
        Ok(())
    }

    /// Whether the first transition still waits for re-sent mutations, and until when at the latest.
    pub(super) fn still_resuming(&mut self) -> Option<Instant> {
        let session = self.session.as_mut()?;
        let resuming = session.resuming.as_ref()?;
        let now = Instant::now();
        let quiet = self.mutations.is_idle() && now >= resuming.quiet_at;
        if quiet || now >= resuming.at_most_until {
            session.resuming = None;
            return None;
        }
        if self.mutations.is_idle() {
            return Some(resuming.quiet_at);
        }
        Some(resuming.at_most_until)
    }
}

/// Why a mutation was not kept, for the socket's end.
fn refusal_to_write(reason: &str) -> &'static str {
    if reason.contains("database is damaged") {
        "the deployment's database is damaged: it writes nothing any more"
    } else {
        "the deployment cannot write to its disk"
    }
}
