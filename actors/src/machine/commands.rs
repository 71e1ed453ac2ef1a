//! What a person may do to one actor: restart it, un-park it, and in debug builds crash it.

use tokio::sync::oneshot;

use super::messages::MachineMsg;
use super::state::{After, MachineState};
#[cfg(debug_assertions)]
use crate::bridge::BridgeMsg;
#[cfg(debug_assertions)]
use crate::deployment::EmbeddedMsg;
use crate::domain::command::Part;
use crate::domain::ids::{DeploymentUrl, SessionId, WorkerId};
use crate::supervision::Address;
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;
use crate::table::{ActorCard, ActorKey, ActorKind};
use crate::worker::{RoleNews, TaskNews, Wish, WorkerMsg};

impl MachineState {
    pub(super) async fn restart(
        &mut self,
        myself: &Address<MachineMsg>,
        actor: &ActorKey,
    ) -> Result<(), String> {
        let card = self
            .table
            .get(actor)
            .ok_or_else(|| format!("there is no actor `{actor}`"))?;
        match card.kind {
            ActorKind::Session => {
                let worker = self.parent_of(&card)?;
                let session = actor.as_str().trim_start_matches("session/");
                let _ = worker.cast(WorkerMsg::RestartSession(SessionId::from(session)));
            }
            ActorKind::Role => {
                let _ = self
                    .parent_of(&card)?
                    .cast(WorkerMsg::Role(part_of(actor)?, RoleNews::Restart));
            }
            ActorKind::Task => {
                let _ = self
                    .parent_of(&card)?
                    .cast(WorkerMsg::Tasks(TaskNews::Restart));
            }
            ActorKind::Worker => {
                let id = WorkerId::from(actor.as_str().trim_start_matches("worker/"));
                self.restart_worker(myself, &id).await?;
            }
            ActorKind::Bridge => {
                let url = DeploymentUrl::from(actor.as_str().trim_start_matches("bridge/"));
                let entry = self
                    .bridges
                    .get_mut(&url)
                    .ok_or_else(|| format!("there is no bridge to `{url}`"))?;
                entry.ledger.forgive();
                match &entry.actor {
                    Some(bridge) => bridge.kill(),
                    None => self.start_bridge(myself, &url).await,
                }
            }
            ActorKind::Deployment if self.deployment.actor.is_none() => {
                self.deployment.ledger.forgive();
                self.start_deployment(myself).await;
            }
            ActorKind::Machine | ActorKind::Deployment => {
                return Err(format!(
                    "`{actor}` cannot be restarted alone: stop the supervisor with `orchestrator stop` and start it again"
                ));
            }
        }
        Ok(())
    }

    /// The worker answers; one that does not run cannot.
    pub(super) fn wish(
        &self,
        worker: &WorkerId,
        session: SessionId,
        wish: Wish,
        reply: oneshot::Sender<Result<(), String>>,
    ) {
        let entry = self.workers.get(worker);
        match entry.and_then(|entry| entry.actor.as_ref()) {
            Some(actor) => {
                let _ = actor.cast(WorkerMsg::Wish {
                    session,
                    wish,
                    reply,
                });
            }
            None => {
                let _ = reply.send(Err(format!("worker `{worker}` is not running here")));
            }
        }
    }

    async fn restart_worker(
        &mut self,
        myself: &Address<MachineMsg>,
        id: &WorkerId,
    ) -> Result<(), String> {
        let entry = self
            .workers
            .get_mut(id)
            .ok_or_else(|| format!("there is no worker `{id}`"))?;
        let stuck = entry.actor.as_ref();
        let stuck = stuck.filter(|actor| actor.gauge().read().stuck.is_some());
        let Some(spec) = entry.decided().cloned() else {
            // A person who asks again means that it takes too long.
            stuck.inspect(|actor| actor.kill());
            return match stuck {
                Some(_) => Ok(()),
                None => Err(format!("worker `{id}` is being removed")),
            };
        };
        if let Some(cause) = &spec.broken {
            // Another start changes nothing about it.
            return Err(cause.clone());
        }
        entry.ledger.forgive();
        self.displaced.forget(id);
        match (stuck, &entry.actor) {
            // It would not hear of it: its sessions end with it, and its successor settles their turns.
            (Some(stuck), _) => stuck.kill(),
            (None, Some(_)) => self.retire(myself, id, After::Become(spec)).await,
            (None, None) => self.start_worker(myself, id).await,
        }
        Ok(())
    }

    pub(super) fn parent_of(&self, card: &ActorCard) -> Result<&Address<WorkerMsg>, String> {
        let parent = card
            .parent
            .as_ref()
            .map(|key| key.as_str().trim_start_matches("worker/"));
        parent
            .and_then(|id| self.workers.get(&WorkerId::from(id)))
            .and_then(|entry| entry.actor.as_ref())
            .ok_or_else(|| format!("the worker of `{}` is not running", card.key))
    }

    #[cfg(debug_assertions)]
    pub(super) async fn fault(
        &self,
        key: &ActorKey,
        fault: Fault,
    ) -> Result<(), ractor::ActorProcessingErr> {
        let Some(card) = self.table.get(key) else {
            return Ok(());
        };
        match card.kind {
            ActorKind::Session => {
                let session = SessionId::from(key.as_str().trim_start_matches("session/"));
                if let Ok(worker) = self.parent_of(&card) {
                    let _ = worker.cast(WorkerMsg::Fault(Some(session), fault));
                }
            }
            ActorKind::Role => {
                if let (Ok(worker), Ok(part)) = (self.parent_of(&card), part_of(key)) {
                    let _ = worker.cast(WorkerMsg::Role(part, RoleNews::Fault(fault)));
                }
            }
            ActorKind::Task => {
                if let Ok(worker) = self.parent_of(&card) {
                    let _ = worker.cast(WorkerMsg::Tasks(TaskNews::Fault(fault)));
                }
            }
            ActorKind::Worker => {
                let id = WorkerId::from(key.as_str().trim_start_matches("worker/"));
                if let Some(actor) = self.workers.get(&id).and_then(|entry| entry.actor.as_ref()) {
                    let _ = actor.cast(WorkerMsg::Fault(None, fault));
                }
            }
            ActorKind::Bridge => {
                let url = DeploymentUrl::from(key.as_str().trim_start_matches("bridge/"));
                let entry = self.bridges.get(&url);
                if let Some(actor) = entry.and_then(|entry| entry.actor.as_ref()) {
                    let _ = actor.cast(BridgeMsg::Fault(fault));
                }
            }
            ActorKind::Machine => fault.strike(key).await?,
            // Its engine is nobody's actor; this is who watches it.
            ActorKind::Deployment => {
                if let Some(actor) = &self.deployment.actor {
                    let _ = actor.cast(EmbeddedMsg::Fault(fault));
                }
            }
        }
        Ok(())
    }
}

/// Of the key `role/<worker>/<room>/<role>`; none of the three has a slash in it.
fn part_of(key: &ActorKey) -> Result<Part, String> {
    let mut pieces = key.as_str().rsplit('/');
    match (pieces.next(), pieces.next()) {
        (Some(role), Some(room)) => Ok(Part {
            room: room.into(),
            role: role.into(),
        }),
        _ => Err(format!("`{key}` names no role")),
    }
}
