//! What a connection gives to the engine and what it does with the answers: one mutation at a time, one transition at a
//! time, responses before the transition that shows them.

use std::time::Instant;

use convex_sync_types::QueryId;
use tracing::warn;

use super::connection::{Connection, End, TRY_AGAIN_LATER};
use super::messages;
use super::query_set::Plan;
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

    pub(super) fn start_transition(&mut self, ts: u64) {
        let Some(mut plan) = self.queries.begin() else {
            return;
        };
        if !plan.needs_engine() {
            self.complete_transition(plan, ts, Vec::new());
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
        let command = Command::Queries {
            connection: self.id,
            dropped: plan.removed.clone(),
            runs,
        };
        self.transition = Some((plan, Instant::now()));
        self.tell_engine(command);
    }

    fn complete_transition(&mut self, plan: Plan, ts: u64, outcomes: Vec<(QueryId, QueryOutcome)>) {
        let tuning = &self.app.tuning;
        let changes = self
            .queries
            .complete(plan, ts, outcomes, tuning.result_bytes);
        let Some(changes) = changes else { return };
        let skew = self.session.as_ref().and_then(|session| session.clock_skew);
        for message in changes.into_messages(skew, tuning.transition_bytes) {
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
                warn!(error = reason.unwrap_or_default(), "cannot write");
                return Err(End::Close(
                    TRY_AGAIN_LATER,
                    "the deployment cannot write to its disk".to_owned(),
                ));
            }
            EngineEvent::Mutated { request, outcome } => {
                self.mutations.finished();
                let limit = self.app.tuning.result_bytes;
                self.outbound
                    .send(messages::mutation_response(request, outcome, limit));
                self.queries.owe_transition();
            }
            EngineEvent::Queried { ts, outcomes } => {
                if let Some((plan, _)) = self.transition.take() {
                    self.complete_transition(plan, ts, outcomes);
                }
            }
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
