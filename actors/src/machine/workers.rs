//! The machine's workers: started, replaced after a crash, taken out of service.

use std::sync::Arc;

use ractor::{Actor, ActorId};
use tracing::warn;

use super::WorkerSpec;
use super::messages::MachineMsg;
use super::state::{After, BridgeEntry, MachineState, WorkerEntry};
use crate::bridge::{Attach, BridgeMsg};
use crate::domain::ids::WorkerId;
use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
use crate::domain::phase::Phase;
use crate::supervision::{Address, ChildEnd, Gauge, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind};
use crate::worker::{WorkerActor, WorkerArgs, WorkerMsg};

/// An orderly stop of a worker ends within this: a child's planned stop may take 30 s, its last events 2 s more.
const STOP_MS: u64 = 40_000;

impl MachineState {
    pub(super) async fn add(&mut self, myself: &Address<MachineMsg>, spec: Arc<WorkerSpec>) {
        let id = spec.id().clone();
        if let Some(cause) = &spec.broken {
            warn!(worker = %spec.name, %cause, "worker cannot serve");
            let mut card = ActorCard::new(
                ActorKey::worker(&id),
                Some(ActorKey::machine()),
                ActorKind::Worker,
                spec.name.clone(),
            );
            card.phase = Phase::Failed;
            card.detail.clone_from(cause);
            card.since_ms = self.args.ports.clock.boottime_ms();
            card.directory = Some(spec.directory.to_string());
            self.table.put(card);
        }
        self.displaced.forget(&id);
        let ledger = RestartLedger::new(Intensity::WORKER);
        let url = spec.url.clone();
        let broken = spec.broken.is_some();
        self.workers.insert(
            id.clone(),
            WorkerEntry {
                spec,
                actor: None,
                ledger,
                after: After::Restart,
            },
        );
        if !broken {
            if !self.bridges.contains_key(&url) {
                let ledger = RestartLedger::new(Intensity::BRIDGE);
                self.bridges.insert(
                    url.clone(),
                    BridgeEntry {
                        actor: None,
                        ledger,
                    },
                );
                self.start_bridge(myself, &url).await;
            }
            self.start_worker(myself, &id).await;
        }
    }

    pub(super) async fn start_worker(&mut self, myself: &Address<MachineMsg>, id: &WorkerId) {
        let Some(entry) = self.workers.get_mut(id) else {
            return;
        };
        if self.stopping.is_some() || entry.actor.is_some() || entry.ledger.is_parked() {
            return;
        }
        let gauge = Gauge::default();
        let args = WorkerArgs {
            spec: entry.spec.clone(),
            ports: self.args.ports.clone(),
            link: self.args.ports.links.link(&entry.spec.url),
            settings: self.args.settings.clone(),
            boot_id: self.args.identity.boot_id.clone(),
            connections: self.connections.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: entry.ledger.total(),
        };
        match WorkerActor::spawn_linked(None, WorkerActor, args, myself.cell()).await {
            Ok((actor, _)) => {
                let actor = Address::new(actor, gauge);
                entry.actor = Some(actor.clone());
                let attach = Attach {
                    token: entry.spec.token.clone(),
                    worker: actor,
                };
                if let Some(bridge) = self
                    .bridges
                    .get(&entry.spec.url)
                    .and_then(|bridge| bridge.actor.as_ref())
                {
                    let _ = bridge.cast(BridgeMsg::Attach(attach));
                }
            }
            // Ractor reports nothing else of an actor that failed in its start.
            Err(error) => self.worker_fell(myself, id, error.to_string()),
        }
    }

    pub(super) fn worker_of(&self, id: ActorId) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let found =
            workers.find(|(_, entry)| entry.actor.as_ref().is_some_and(|actor| actor.id() == id));
        found.map(|(worker, _)| worker.clone())
    }

    pub(super) async fn worker_ended(
        &mut self,
        myself: &Address<MachineMsg>,
        id: WorkerId,
        end: ChildEnd,
    ) {
        let Some(entry) = self.workers.get_mut(&id) else {
            return;
        };
        entry.actor = None;
        if self.stopping.is_some() {
            return;
        }
        match std::mem::replace(&mut entry.after, After::Restart) {
            After::Remove => {
                self.detach(&id);
                self.workers.remove(&id);
                self.table.remove(&ActorKey::worker(&id));
                self.drop_unused_bridges();
            }
            After::Become(spec) => {
                self.detach(&id);
                self.workers.remove(&id);
                self.table.remove(&ActorKey::worker(&id));
                self.add(myself, spec).await;
                self.drop_unused_bridges();
            }
            After::Restart => self.worker_fell(myself, &id, end.error()),
        }
    }

    fn worker_fell(&mut self, myself: &Address<MachineMsg>, id: &WorkerId, error: String) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.workers.get_mut(id) else {
            return;
        };
        let verdict = entry.ledger.on_crash(now, rand::random());
        warn!(worker = %entry.spec.name, %error, ?verdict, "worker crashed");
        let mut card = ActorCard::new(
            ActorKey::worker(id),
            Some(ActorKey::machine()),
            ActorKind::Worker,
            entry.spec.name.clone(),
        );
        card.directory = Some(entry.spec.directory.to_string());
        let now = self.args.ports.clock.boottime_ms();
        self.table
            .put_fallen(card.fallen(verdict, entry.ledger.total(), error, now));
        if let Verdict::Restart { after_ms } = verdict {
            self.later(myself, after_ms, MachineMsg::WorkerDue(id.clone()));
        } else if let Some(bridge) = self
            .bridges
            .get(&entry.spec.url)
            .and_then(|bridge| bridge.actor.as_ref())
        {
            let _ = bridge.cast(BridgeMsg::Park(entry.spec.token.clone()));
        }
    }

    /// The orderly stop of a worker, and what follows when it does not come to an end.
    pub(super) fn tell_to_stop(
        &mut self,
        myself: &Address<MachineMsg>,
        id: &WorkerId,
        actor: &Address<WorkerMsg>,
    ) {
        let _ = actor.cast(WorkerMsg::Stop);
        let due = MachineMsg::StopDue(id.clone(), actor.id());
        self.later(myself, STOP_MS, due);
    }

    /// It is stuck, or one of its sessions is. Their children end with them.
    pub(super) fn stop_due(&mut self, id: &WorkerId, stopping: ActorId) {
        let Some(entry) = self.workers.get(id) else {
            return;
        };
        if let Some(actor) = entry.actor.as_ref().filter(|actor| actor.id() == stopping) {
            warn!(worker = %entry.spec.name, "worker does not stop; it is killed");
            actor.kill();
        }
    }

    /// Takes a worker out of service; what follows happens when its actor has stopped.
    pub(super) async fn retire(
        &mut self,
        myself: &Address<MachineMsg>,
        id: &WorkerId,
        after: After,
    ) {
        let Some(entry) = self.workers.get_mut(id) else {
            return;
        };
        match (&entry.actor, after) {
            // Its token is given back when it has stopped: till then its children work for it.
            (Some(actor), after) => {
                entry.after = after;
                let actor = actor.clone();
                self.tell_to_stop(myself, id, &actor);
            }
            (None, After::Become(spec)) => {
                self.detach(id);
                self.workers.remove(id);
                self.table.remove(&ActorKey::worker(id));
                Box::pin(self.add(myself, spec)).await;
            }
            (None, _) => {
                self.detach(id);
                self.workers.remove(id);
                self.table.remove(&ActorKey::worker(id));
                self.drop_unused_bridges();
            }
        }
    }

    /// Nobody works for the worker any more: its bridge gives the token back.
    fn detach(&self, id: &WorkerId) {
        let bridge = self
            .workers
            .get(id)
            .and_then(|entry| self.bridges.get(&entry.spec.url))
            .and_then(|bridge| bridge.actor.as_ref());
        if let Some(bridge) = bridge {
            let _ = bridge.cast(BridgeMsg::Detach(id.clone()));
        }
    }
}
