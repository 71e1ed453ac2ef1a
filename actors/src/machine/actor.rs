//! The actor: bridges and workers, their restarts, reload and shutdown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::diff::{Change, diff};
use super::messages::MachineMsg;
use super::{Desired, MachineArgs, ReloadReport, StopReport, WorkerSpec};
use crate::bridge::{Attach, BridgeArgs, BridgeMsg, ConvexBridge};
use crate::deployment::{EmbeddedArgs, EmbeddedDeployment};
use crate::domain::ids::{DeploymentUrl, SessionId, WorkerId};
use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
use crate::domain::phase::Phase;
use crate::supervision::{ChildEnd, Tasks, child_end, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable};
use crate::worker::{WorkerActor, WorkerArgs, WorkerMsg};

pub struct MachineActor;

pub struct MachineState {
    args: MachineArgs,
    table: ActorTable,
    bridges: BTreeMap<DeploymentUrl, BridgeEntry>,
    workers: BTreeMap<WorkerId, WorkerEntry>,
    /// Who watches the embedded deployment.
    deployment: Option<ActorId>,
    stopping: Option<Stopping>,
    tasks: Tasks,
}

struct BridgeEntry {
    actor: Option<ActorRef<BridgeMsg>>,
    ledger: RestartLedger,
}

struct WorkerEntry {
    spec: Arc<WorkerSpec>,
    actor: Option<ActorRef<WorkerMsg>>,
    ledger: RestartLedger,
    /// What to do when the actor has stopped: nothing follows, or this.
    after: After,
}

enum After {
    Restart,
    Remove,
    Become(Arc<WorkerSpec>),
}

impl WorkerEntry {
    /// What this worker will be once everything decided so far has happened; a reload starts from there.
    fn decided(&self) -> Option<&Arc<WorkerSpec>> {
        match &self.after {
            After::Restart => Some(&self.spec),
            After::Become(spec) => Some(spec),
            After::Remove => None,
        }
    }
}

struct Stopping {
    reply: oneshot::Sender<StopReport>,
    report: StopReport,
    flushing: bool,
}

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
        card.since_ms = args.ports.clock.wall_ms();
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
    async fn add(&mut self, myself: &ActorRef<MachineMsg>, spec: Arc<WorkerSpec>) {
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
            card.since_ms = self.args.ports.clock.wall_ms();
            card.directory = Some(spec.directory.to_string());
            self.table.put(card);
        }
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

    async fn start_deployment(&mut self, myself: &ActorRef<MachineMsg>) {
        let Some(embedded) = self.args.deployment.clone() else {
            return;
        };
        let args = EmbeddedArgs {
            embedded,
            clock: self.args.ports.clock.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
        };
        match EmbeddedDeployment::spawn_linked(None, EmbeddedDeployment, args, myself.get_cell())
            .await
        {
            Ok((actor, _)) => self.deployment = Some(actor.get_id()),
            Err(error) => warn!(%error, "the embedded deployment is not watched"),
        }
    }

    async fn start_worker(&mut self, myself: &ActorRef<MachineMsg>, id: &WorkerId) {
        let Some(entry) = self.workers.get_mut(id) else {
            return;
        };
        if self.stopping.is_some() || entry.actor.is_some() || entry.ledger.is_parked() {
            return;
        }
        let args = WorkerArgs {
            spec: entry.spec.clone(),
            ports: self.args.ports.clone(),
            link: self.args.ports.links.link(&entry.spec.url),
            settings: self.args.settings.clone(),
            boot_id: self.args.identity.boot_id.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            restarts: entry.ledger.total(),
        };
        match WorkerActor::spawn_linked(None, WorkerActor, args, myself.get_cell()).await {
            Ok((actor, _)) => {
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
            Err(error) => warn!(worker = %entry.spec.name, %error, "worker did not start"),
        }
    }

    async fn start_bridge(&mut self, myself: &ActorRef<MachineMsg>, url: &DeploymentUrl) {
        let attached = self
            .workers
            .values()
            .filter(|entry| entry.spec.url == *url)
            .filter_map(|entry| {
                Some(Attach {
                    token: entry.spec.token.clone(),
                    worker: entry.actor.clone()?,
                })
            })
            .collect();
        let Some(entry) = self.bridges.get_mut(url) else {
            return;
        };
        if entry.actor.is_some() {
            return;
        }
        let args = BridgeArgs {
            url: url.clone(),
            link: self.args.ports.links.link(url),
            stores: self.args.ports.stores.clone(),
            clock: self.args.ports.clock.clone(),
            identity: self.args.identity.clone(),
            settings: self.args.settings.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            restarts: entry.ledger.total(),
            attached,
        };
        match ConvexBridge::spawn_linked(None, ConvexBridge, args, myself.get_cell()).await {
            Ok((actor, _)) => entry.actor = Some(actor),
            Err(error) => warn!(bridge = %url, %error, "bridge did not start"),
        }
    }

    async fn child_ended(&mut self, myself: &ActorRef<MachineMsg>, end: ChildEnd) {
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

    fn worker_of(&self, id: ActorId) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let found = workers.find(|(_, entry)| {
            entry
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == id)
        });
        found.map(|(worker, _)| worker.clone())
    }

    fn bridge_of(&self, id: ActorId) -> Option<DeploymentUrl> {
        let mut bridges = self.bridges.iter();
        let found = bridges.find(|(_, entry)| {
            entry
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == id)
        });
        found.map(|(url, _)| url.clone())
    }

    async fn worker_ended(&mut self, myself: &ActorRef<MachineMsg>, id: WorkerId, end: ChildEnd) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.workers.get_mut(&id) else {
            return;
        };
        entry.actor = None;
        if self.stopping.is_some() {
            return;
        }
        match std::mem::replace(&mut entry.after, After::Restart) {
            After::Remove => {
                self.workers.remove(&id);
                self.table.remove(&ActorKey::worker(&id));
                self.drop_unused_bridges();
            }
            After::Become(spec) => {
                self.workers.remove(&id);
                self.table.remove(&ActorKey::worker(&id));
                self.add(myself, spec).await;
                self.drop_unused_bridges();
            }
            After::Restart => {
                let error = match end {
                    ChildEnd::Stopped(_) => "it stopped without being asked".to_owned(),
                    ChildEnd::Crashed(_, error) => error,
                };
                let verdict = entry.ledger.on_crash(now, rand::random());
                warn!(worker = %entry.spec.name, %error, ?verdict, "worker crashed");
                let mut card = ActorCard::new(
                    ActorKey::worker(&id),
                    Some(ActorKey::machine()),
                    ActorKind::Worker,
                    entry.spec.name.clone(),
                );
                card.restarts = entry.ledger.total();
                card.last_error = Some(error);
                card.since_ms = self.args.ports.clock.wall_ms();
                card.phase = if verdict == Verdict::Park {
                    Phase::Parked
                } else {
                    Phase::Restarting
                };
                card.directory = Some(entry.spec.directory.to_string());
                self.table.put(card);
                if let Verdict::Restart { after_ms } = verdict {
                    self.later(myself, after_ms, MachineMsg::WorkerDue(id));
                } else if let Some(bridge) = self
                    .bridges
                    .get(&entry.spec.url)
                    .and_then(|b| b.actor.as_ref())
                {
                    let _ = bridge.cast(BridgeMsg::Park(id));
                }
            }
        }
    }

    fn bridge_ended(&mut self, myself: &ActorRef<MachineMsg>, url: &DeploymentUrl, end: ChildEnd) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.bridges.get_mut(url) else {
            return;
        };
        entry.actor = None;
        if self.stopping.is_some() {
            return;
        }
        let verdict = entry.ledger.on_crash(now, rand::random());
        warn!(bridge = %url, ?end, ?verdict, "bridge crashed");
        // Its successor knows nothing of what was taken; taking it again would fight with whoever has it now.
        self.args.identity.take_over = false;
        let Verdict::Restart { after_ms } = verdict else {
            return;
        };
        self.later(myself, after_ms, MachineMsg::BridgeDue(url.clone()));
    }

    fn later(&mut self, myself: &ActorRef<MachineMsg>, after_ms: u64, message: MachineMsg) {
        let myself = myself.clone();
        self.tasks.spawn(async move {
            if after_ms > 0 {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
            }
            let _ = myself.cast(message);
        });
    }

    fn drop_unused_bridges(&mut self) {
        let used: Vec<_> = self
            .workers
            .values()
            .map(|entry| entry.spec.url.clone())
            .collect();
        let flush_ms = self.args.settings.flush_ms;
        let tasks = &mut self.tasks;
        self.bridges.retain(|url, entry| {
            let keep = used.contains(url);
            if !keep && let Some(actor) = entry.actor.take() {
                // The last workers' finishes are still on their way.
                let (reply, flushed) = oneshot::channel();
                let _ = actor.cast(BridgeMsg::Shutdown { flush_ms, reply });
                tasks.spawn(async move {
                    let _ = flushed.await;
                    actor.stop(None);
                });
            }
            keep
        });
    }

    async fn reload(
        &mut self,
        myself: &ActorRef<MachineMsg>,
        desired: &Desired,
        dry_run: bool,
    ) -> ReloadReport {
        let present = self
            .workers
            .iter()
            .filter_map(|(id, entry)| Some((id.clone(), entry.decided()?.clone())))
            .collect();
        let changes = diff(&present, &desired.workers);
        let mut report = ReloadReport::default();
        let mut touched = Vec::new();
        for change in &changes {
            match change {
                Change::Add(spec) => report.added.push(spec.name.clone()),
                Change::Remove(spec) => {
                    report.removed.push(spec.name.clone());
                    touched.push(spec.id().clone());
                }
                Change::Replace(spec, what) => {
                    report.changed.push((spec.name.clone(), what.clone()));
                    touched.push(spec.id().clone());
                }
                Change::Configure(spec, what) => {
                    report.changed.push((spec.name.clone(), what.clone()));
                }
                Change::Keep => report.unchanged += 1,
            }
        }
        report.sessions_kept = self.sessions_besides(&touched);
        if !dry_run && self.stopping.is_none() {
            for change in changes {
                self.apply(myself, change).await;
            }
        }
        report
    }

    fn sessions_besides(&self, touched: &[WorkerId]) -> usize {
        let touched: Vec<_> = touched.iter().map(ActorKey::worker).collect();
        let cards = self.table.snapshot();
        let sessions = cards.iter().filter(|card| card.kind == ActorKind::Session);
        sessions
            .filter(|card| {
                card.parent
                    .as_ref()
                    .is_none_or(|parent| !touched.contains(parent))
            })
            .count()
    }

    async fn apply(&mut self, myself: &ActorRef<MachineMsg>, change: Change) {
        match change {
            Change::Keep => {}
            Change::Add(spec) => match self.workers.get_mut(spec.id()) {
                // Its removal is still under way.
                Some(entry) => entry.after = After::Become(spec),
                None => self.add(myself, spec).await,
            },
            Change::Remove(spec) => self.retire(myself, spec.id(), After::Remove).await,
            Change::Replace(spec, _) => {
                let id = spec.id().clone();
                self.retire(myself, &id, After::Become(spec)).await;
            }
            Change::Configure(spec, _) => {
                if let Some(entry) = self.workers.get_mut(spec.id()) {
                    if let After::Become(next) = &mut entry.after {
                        *next = spec;
                        return;
                    }
                    entry.spec = spec.clone();
                    if let Some(actor) = &entry.actor {
                        let _ = actor.cast(WorkerMsg::Configure(spec));
                    }
                }
            }
        }
    }

    /// Takes a worker out of service; what follows happens when its actor has stopped.
    async fn retire(&mut self, myself: &ActorRef<MachineMsg>, id: &WorkerId, after: After) {
        let Some(entry) = self.workers.get_mut(id) else {
            return;
        };
        if let Some(bridge) = self
            .bridges
            .get(&entry.spec.url)
            .and_then(|bridge| bridge.actor.as_ref())
        {
            let _ = bridge.cast(BridgeMsg::Detach(id.clone()));
        }
        match (&entry.actor, after) {
            (Some(actor), after) => {
                entry.after = after;
                let _ = actor.cast(WorkerMsg::Stop);
            }
            (None, After::Become(spec)) => {
                self.workers.remove(id);
                self.table.remove(&ActorKey::worker(id));
                Box::pin(self.add(myself, spec)).await;
            }
            (None, _) => {
                self.workers.remove(id);
                self.table.remove(&ActorKey::worker(id));
                self.drop_unused_bridges();
            }
        }
    }

    async fn restart(
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

    fn parent_of(&self, card: &ActorCard) -> Result<&ActorRef<WorkerMsg>, String> {
        let parent = card
            .parent
            .as_ref()
            .map(|key| key.as_str().trim_start_matches("worker/"));
        parent
            .and_then(|id| self.workers.get(&WorkerId::from(id)))
            .and_then(|entry| entry.actor.as_ref())
            .ok_or_else(|| format!("the worker of `{}` is not running", card.key))
    }

    fn stop(&mut self, myself: &ActorRef<MachineMsg>, reply: oneshot::Sender<StopReport>) {
        if self.stopping.is_some() {
            return;
        }
        let cards = self.table.snapshot();
        let live = |card: &&ActorCard| card.kind == ActorKind::Session && card.agent_pid.is_some();
        let report = StopReport {
            workers: self
                .workers
                .values()
                .filter(|entry| entry.actor.is_some())
                .count(),
            sessions: cards.iter().filter(live).count(),
            flushed: false,
        };
        info!(
            workers = report.workers,
            sessions = report.sessions,
            "stopping"
        );
        self.table
            .change(&ActorKey::machine(), |card| card.phase = Phase::Stopping);
        self.stopping = Some(Stopping {
            reply,
            report,
            flushing: false,
        });
        for entry in self.workers.values() {
            if let Some(actor) = &entry.actor {
                let _ = actor.cast(WorkerMsg::Stop);
            }
        }
        self.flush_when_stopped(myself);
    }

    fn flush_when_stopped(&mut self, myself: &ActorRef<MachineMsg>) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.flushing || self.workers.values().any(|entry| entry.actor.is_some()) {
            return;
        }
        stopping.flushing = true;
        let flush_ms = self.args.settings.flush_ms;
        let answers: Vec<_> = self
            .bridges
            .values()
            .filter_map(|entry| entry.actor.as_ref())
            .map(|bridge| {
                let (reply, answer) = oneshot::channel();
                let _ = bridge.cast(BridgeMsg::Shutdown { flush_ms, reply });
                answer
            })
            .collect();
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let answers = futures_util::future::join_all(answers).await;
            let flushed = answers.into_iter().all(|answer| answer.unwrap_or(false));
            let _ = myself.cast(MachineMsg::Flushed(flushed));
        });
    }

    fn flushed(&mut self, myself: &ActorRef<MachineMsg>, flushed: bool) {
        if let Some(stopping) = self.stopping.take() {
            let _ = stopping.reply.send(StopReport {
                flushed,
                ..stopping.report
            });
        }
        for entry in self.bridges.values() {
            if let Some(actor) = &entry.actor {
                actor.stop(None);
            }
        }
        myself.stop(None);
    }

    #[cfg(debug_assertions)]
    fn panic(&self, key: &ActorKey) {
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
            ActorKind::Machine => panic!("injected panic"),
            // Its engine is nobody's actor: whoever holds it injects that one.
            ActorKind::Deployment => {}
        }
    }
}
