//! What a person may do to one actor: restart it, un-park it, and in debug builds crash it.

use ractor::ActorRef;

use super::messages::MachineMsg;
use super::state::{After, MachineState};
#[cfg(debug_assertions)]
use crate::bridge::BridgeMsg;
use crate::domain::ids::{DeploymentUrl, SessionId, WorkerId};
use crate::table::{ActorCard, ActorKey, ActorKind};
use crate::worker::WorkerMsg;

impl MachineState {
    pub(super) async fn restart(
        &mut self,
        myself: &ActorRef<MachineMsg>,
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
            ActorKind::Worker => {
                let id = WorkerId::from(actor.as_str().trim_start_matches("worker/"));
                let entry = self
                    .workers
                    .get_mut(&id)
                    .ok_or_else(|| format!("there is no worker `{id}`"))?;
                let Some(spec) = entry.decided().cloned() else {
                    return Err(format!("worker `{id}` is being removed"));
                };
                entry.ledger.forgive();
                if entry.actor.is_some() {
                    self.retire(myself, &id, After::Become(spec)).await;
                } else {
                    self.start_worker(myself, &id).await;
                }
            }
            ActorKind::Bridge => {
                let url = DeploymentUrl::from(actor.as_str().trim_start_matches("bridge/"));
                if let Some(bridge) = self
                    .bridges
                    .get(&url)
                    .and_then(|entry| entry.actor.as_ref())
                {
                    bridge.kill();
                }
            }
            ActorKind::Machine | ActorKind::Deployment => {
                return Err(format!(
                    "`{actor}` cannot be restarted alone; use `orchestrator restart` without a name"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn parent_of(&self, card: &ActorCard) -> Result<&ActorRef<WorkerMsg>, String> {
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
    pub(super) fn panic(&self, key: &ActorKey) {
        let Some(card) = self.table.get(key) else {
            return;
        };
        match card.kind {
            ActorKind::Session => {
                let session = SessionId::from(key.as_str().trim_start_matches("session/"));
                if let Ok(worker) = self.parent_of(&card) {
                    let _ = worker.cast(WorkerMsg::Panic(Some(session)));
                }
            }
            ActorKind::Worker => {
                let id = WorkerId::from(key.as_str().trim_start_matches("worker/"));
                if let Some(actor) = self.workers.get(&id).and_then(|entry| entry.actor.as_ref()) {
                    let _ = actor.cast(WorkerMsg::Panic(None));
                }
            }
            ActorKind::Bridge => {
                let url = DeploymentUrl::from(key.as_str().trim_start_matches("bridge/"));
                if let Some(actor) = self
                    .bridges
                    .get(&url)
                    .and_then(|entry| entry.actor.as_ref())
                {
                    let _ = actor.cast(BridgeMsg::Panic);
                }
            }
            ActorKind::Machine => panic!("a panic was injected into the machine"),
            // Its engine is nobody's actor: whoever holds it injects that one.
            ActorKind::Deployment => {}
        }
    }
}
