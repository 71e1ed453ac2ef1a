//! How the outside world talks to the tree.

use std::time::Duration;

use tokio::sync::oneshot;

use super::messages::MachineMsg;
use super::{Desired, ReloadReport, StopReport, WorkerStart};
use crate::domain::ids::{SessionId, WorkerId};
use crate::domain::phase::Phase;
use crate::supervision::Address;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;
use crate::table::{ActorKey, ActorKind, ActorTable};
use crate::worker::Wish;

/// The control task's patience with the machine actor.
const ANSWER: Duration = Duration::from_secs(5);

/// Cheap to clone. Dropping it does not stop the tree; [`MachineHandle::stop`] does.
#[derive(Clone)]
pub struct MachineHandle {
    pub(super) actor: Address<MachineMsg>,
    pub(super) table: ActorTable,
}

impl MachineHandle {
    /// What `ps` reads, without a message to anybody.
    pub fn table(&self) -> ActorTable {
        self.table.clone()
    }

    /// Waits until every worker serves, waits or has failed, or `limit` is over; then says which.
    pub async fn started(&self, limit: Duration) -> Vec<(String, WorkerStart)> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut changed = self.table.changes();
        loop {
            let starts = self.starts();
            if starts.iter().all(|(_, start)| start.is_some())
                || tokio::time::Instant::now() >= deadline
            {
                return starts
                    .into_iter()
                    .map(|(name, start)| {
                        let waiting =
                            || WorkerStart::Waiting("waits for its deployment".to_owned());
                        (name, start.unwrap_or_else(waiting))
                    })
                    .collect();
            }
            let _ = tokio::time::timeout_at(deadline, changed.changed()).await;
        }
    }

    fn starts(&self) -> Vec<(String, Option<WorkerStart>)> {
        let cards = self.table.snapshot();
        let workers = cards
            .into_iter()
            .filter(|card| card.kind == ActorKind::Worker);
        workers
            .map(|card| {
                let start = match card.phase {
                    Phase::Ready => Some(WorkerStart::Ready),
                    Phase::Pending | Phase::Paused => Some(WorkerStart::Waiting(card.detail)),
                    Phase::Failed | Phase::Revoked | Phase::Displaced | Phase::Parked => {
                        Some(WorkerStart::Failed(card.detail))
                    }
                    _ => None,
                };
                (card.name, start)
            })
            .collect()
    }

    /// Makes the tree what `desired` says; with `dry_run` only tells the difference.
    pub async fn reload(&self, desired: Desired, dry_run: bool) -> Result<ReloadReport, String> {
        self.ask(|reply| MachineMsg::Reload {
            desired,
            dry_run,
            reply,
        })
        .await
    }

    /// Restarts or un-parks one actor.
    pub async fn restart(&self, actor: ActorKey) -> Result<(), String> {
        self.ask(|reply| MachineMsg::Restart { actor, reply })
            .await?
    }

    /// Has a session's assistant up without a turn, or given up.
    pub async fn wish(
        &self,
        worker: WorkerId,
        session: SessionId,
        wish: Wish,
    ) -> Result<(), String> {
        self.ask(|reply| MachineMsg::Wish {
            worker,
            session,
            wish,
            reply,
        })
        .await?
    }

    /// Resolves when the root actor has ended, however it did.
    pub async fn closed(&self) {
        self.actor.ended().await;
    }

    /// Stops the tree: no more claims, children stopped, finishes handed over, sockets closed.
    pub async fn stop(&self, limit: Duration) -> StopReport {
        let (reply, answer) = oneshot::channel();
        if self.actor.cast(MachineMsg::Stop { reply }).is_err() {
            return StopReport::default();
        }
        let report = tokio::time::timeout(limit, answer).await;
        report.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Debug builds: makes one actor panic.
    #[cfg(debug_assertions)]
    pub fn inject_panic(&self, actor: ActorKey) -> Result<(), String> {
        self.inject(actor, Fault::Panic)
    }

    /// Debug builds: lets one actor's handler do this wrong.
    #[cfg(debug_assertions)]
    pub fn inject(&self, actor: ActorKey, fault: Fault) -> Result<(), String> {
        self.actor
            .cast(MachineMsg::Fault { actor, fault })
            .map_err(|error| error.to_string())
    }

    /// Debug builds: as if the process had died; nothing is stopped in order.
    #[cfg(debug_assertions)]
    pub fn kill(&self) {
        self.actor.kill();
    }

    /// Debug builds: lets the next `times` starts of an actor do this wrong.
    #[cfg(debug_assertions)]
    pub fn inject_at_start(&self, actor: ActorKey, fault: Fault, times: u32) {
        self.table.start_faults.arm(actor, fault, times);
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> MachineMsg,
    ) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.actor
            .cast(message(reply))
            .map_err(|_| "the machine actor is gone".to_owned())?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err("the machine actor dropped the question".to_owned()),
            Err(_) => Err(format!(
                "the machine actor did not answer within {} s",
                ANSWER.as_secs()
            )),
        }
    }
}
