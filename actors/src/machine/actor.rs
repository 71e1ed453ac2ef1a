//! The actor: one arm per message, and who is told when a child has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::MachineArgs;
use super::messages::MachineMsg;
use super::state::MachineState;
use crate::domain::phase::Phase;
use crate::supervision::{ChildEnd, Tasks, child_end};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable};

pub struct MachineActor;

impl Actor for MachineActor {
    type Msg = MachineMsg;
    type State = MachineState;
    type Arguments = (MachineArgs, ActorTable);

    async fn pre_start(
        &self,
        myself: ActorRef<MachineMsg>,
        (args, table): (MachineArgs, ActorTable),
    ) -> Result<MachineState, ActorProcessingErr> {
        let mut card = ActorCard::new(
            ActorKey::machine(),
            None,
            ActorKind::Machine,
            args.name.clone(),
        );
        card.phase = Phase::Ready;
        card.detail = args.machine_id.to_string();
        card.since_ms = args.ports.clock.boottime_ms();
        table.put(card);
        let mut state = MachineState {
            args,
            table,
            bridges: BTreeMap::new(),
            workers: BTreeMap::new(),
            deployment: None,
            stopping: None,
            tasks: Tasks::default(),
        };
        state.start_deployment(&myself).await;
        for spec in state.args.desired.workers.clone() {
            state.add(&myself, Arc::new(spec)).await;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<MachineMsg>,
        message: MachineMsg,
        state: &mut MachineState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MachineMsg::Reload {
                desired,
                dry_run,
                reply,
            } => {
                let _ = reply.send(state.reload(&myself, &desired, dry_run).await);
            }
            MachineMsg::Restart { actor, reply } => {
                let _ = reply.send(state.restart(&myself, &actor).await);
            }
            MachineMsg::Stop { reply } => state.stop(&myself, reply),
            MachineMsg::Links { reply } => {
                let links = state.bridges.keys();
                let status = links
                    .map(|url| (url.clone(), state.args.ports.links.link(url).status()))
                    .collect();
                let _ = reply.send(status);
            }
            MachineMsg::WorkerDue(worker) => state.start_worker(&myself, &worker).await,
            MachineMsg::BridgeDue(url) => state.start_bridge(&myself, &url).await,
            MachineMsg::Flushed(flushed) => state.flushed(&myself, flushed),
            #[cfg(debug_assertions)]
            MachineMsg::Panic { actor } => state.panic(&actor),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<MachineMsg>,
        event: SupervisionEvent,
        state: &mut MachineState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(end) = child_end(&event) {
            state.child_ended(&myself, end).await;
        }
        Ok(())
    }
}

impl MachineState {
    pub(super) async fn child_ended(&mut self, myself: &ActorRef<MachineMsg>, end: ChildEnd) {
        let (ChildEnd::Stopped(id) | ChildEnd::Crashed(id, _)) = &end;
        if let Some(worker) = self.worker_of(*id) {
            self.worker_ended(myself, worker, end).await;
        } else if let Some(url) = self.bridge_of(*id) {
            self.bridge_ended(myself, &url, end);
        } else if self.deployment == Some(*id) && self.stopping.is_none() {
            self.start_deployment(myself).await;
        }
        self.flush_when_stopped(myself);
    }

    pub(super) fn later(
        &mut self,
        myself: &ActorRef<MachineMsg>,
        after_ms: u64,
        message: MachineMsg,
    ) {
        let myself = myself.clone();
        self.tasks.spawn(async move {
            if after_ms > 0 {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
            }
            let _ = myself.cast(message);
        });
    }
}
