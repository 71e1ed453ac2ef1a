//! The actor: one arm per message, and who is told when a child has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::messages::MachineMsg;
use super::state::{MachineState, Watcher};
use super::{Connections, Displaced, MachineArgs};
use crate::domain::ledger::{Intensity, RestartLedger};
use crate::domain::phase::Phase;
use crate::supervision::{Address, ChildEnd, Envelope, Gauge, Tasks, child_end, heartbeat};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable};

pub struct MachineActor;

impl Actor for MachineActor {
    type Msg = Envelope<MachineMsg>;
    type State = MachineState;
    type Arguments = (MachineArgs, ActorTable, Gauge);

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<MachineMsg>>,
        (args, table, gauge): (MachineArgs, ActorTable, Gauge),
    ) -> Result<MachineState, ActorProcessingErr> {
        let myself = Address::new(myself, gauge.clone());
        let mut card = ActorCard::new(
            ActorKey::machine(),
            None,
            ActorKind::Machine,
            args.name.clone(),
        );
        card.phase = Phase::Ready;
        card.detail = args.machine_id.to_string();
        card.since_ms = args.ports.clock.boottime_ms();
        card.gauge = gauge;
        table.put(card);
        let mut tasks = Tasks::default();
        tasks.spawn(heartbeat::rounds(table.clone()));
        let connections = Connections::new(&args.identity, args.ports.stores.clone());
        let mut state = MachineState {
            args,
            myself: myself.clone(),
            table,
            bridges: BTreeMap::new(),
            workers: BTreeMap::new(),
            deployment: Watcher {
                actor: None,
                ledger: RestartLedger::new(Intensity::BRIDGE),
            },
            displaced: Displaced::default(),
            connections,
            stopping: None,
            tasks,
        };
        state.start_deployment(&myself).await;
        for spec in state.args.desired.workers.clone() {
            state.add(&myself, Arc::new(spec)).await;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<MachineMsg>>,
        message: Envelope<MachineMsg>,
        state: &mut MachineState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        let myself = state.myself.clone();
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
            MachineMsg::Wish {
                worker,
                session,
                wish,
                reply,
            } => state.wish(&worker, session, wish, reply),
            MachineMsg::Stop { reply } => state.stop(&myself, reply),
            MachineMsg::StopDue(worker, actor) => state.stop_due(&worker, actor),
            MachineMsg::WorkerDue(worker) => state.start_worker(&myself, &worker).await,
            MachineMsg::BridgeDue(url) => state.start_bridge(&myself, &url).await,
            MachineMsg::DeploymentDue => state.start_deployment(&myself).await,
            MachineMsg::Flushed(flushed) => state.flushed(&myself, flushed),
            #[cfg(debug_assertions)]
            MachineMsg::Fault { actor, fault } => state.fault(&actor, fault).await?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Envelope<MachineMsg>>,
        event: SupervisionEvent,
        state: &mut MachineState,
    ) -> Result<(), ActorProcessingErr> {
        let _handling = state.myself.gauge().begin("a child's end");
        let myself = state.myself.clone();
        if let Some(end) = child_end(&event) {
            state.child_ended(&myself, end).await;
        }
        Ok(())
    }
}

impl MachineState {
    pub(super) async fn child_ended(&mut self, myself: &Address<MachineMsg>, end: ChildEnd) {
        let (ChildEnd::Stopped(id) | ChildEnd::Crashed(id, _)) = &end;
        if let Some(worker) = self.worker_of(*id) {
            self.worker_ended(myself, worker, end).await;
        } else if let Some(url) = self.bridge_of(*id) {
            self.bridge_fell(myself, &url, end.error());
        } else if self.is_watcher(*id) {
            self.watcher_fell(myself, end.error());
        }
        self.flush_when_stopped(myself);
    }

    pub(super) fn later(
        &mut self,
        myself: &Address<MachineMsg>,
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
