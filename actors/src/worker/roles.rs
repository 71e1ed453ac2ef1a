//! The assistants that were started from afar: one actor each, replaced when it crashes, parked when it keeps crashing.
//! A first start that fails is not tried again: whoever asked for it hears why. What the deployment shows of them is
//! reported as it changes, and again under every new right to write.

use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use tracing::{info, warn};

use super::messages::{RoleNews, WorkerMsg};
use super::state::{RoleEntry, WorkerState};
use crate::calls::{self, Run};
use crate::domain::command::{Casting, Part, Refused};
use crate::domain::ids::CommandId;
use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
use crate::ports::link::Credential;
use crate::role::{RoleActor, RoleArgs, RoleMsg};
use crate::supervision::{Address, ChildEnd, Gauge, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind};

/// A report that did not get through is made again after this time, and given up after so many.
const AGAIN: Duration = Duration::from_secs(2);
const REPORTS: usize = 30;

/// Assistants of one directory that may play at once.
const MOST_ROLES: usize = 8;

impl WorkerState {
    pub(super) async fn start_role(
        &mut self,
        myself: &Address<WorkerMsg>,
        command: CommandId,
        casting: Casting,
    ) {
        if let Err(refused) = self.may_start(&casting.part) {
            return self.end(myself, command, Err(refused));
        }
        let part = casting.part.clone();
        let entry = RoleEntry {
            actor: None,
            ledger: RestartLedger::new(Intensity::SESSION),
            casting: Arc::new(casting),
            asked: Some(command),
            stopping: false,
            stops: Vec::new(),
        };
        self.roles.insert(part.clone(), entry);
        self.spawn_role(myself, &part).await;
    }

    fn may_start(&self, part: &Part) -> Result<(), Refused> {
        if self.stopping || self.args.spec.paused {
            let state = if self.stopping { "stopping" } else { "paused" };
            let message = format!("worker {} is {state}", self.args.spec.name);
            return Err(Refused::new(state, message));
        }
        let playing = self.roles.get(part).filter(|role| !role.is_parked());
        if let Some(role) = playing {
            let tool = &role.casting.tool;
            let message = format!("{tool} plays {part} already: stop it first");
            return Err(Refused::new("conflict", message));
        }
        if self.roles.len() >= MOST_ROLES && !self.roles.contains_key(part) {
            let message = format!("{MOST_ROLES} assistants play in this directory already");
            return Err(Refused::new("queue_full", message));
        }
        Ok(())
    }

    async fn spawn_role(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let Some(entry) = self.roles.get_mut(part) else {
            return;
        };
        let gauge = Gauge::default();
        let args = RoleArgs {
            casting: entry.casting.clone(),
            worker: self.args.spec.clone(),
            parent: myself.clone(),
            ports: self.args.ports.clone(),
            table: self.args.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: entry.ledger.total(),
        };
        match RoleActor::spawn_linked(None, RoleActor, args, myself.cell()).await {
            Ok((actor, _)) => entry.actor = Some(Address::new(actor, gauge)),
            // Ractor reports nothing else of an actor that failed in its start.
            Err(error) => self.role_crashed(myself, part, error.to_string()),
        }
    }

    pub(super) fn stop_role(
        &mut self,
        myself: &Address<WorkerMsg>,
        command: CommandId,
        part: &Part,
    ) {
        let Some(entry) = self.roles.get_mut(part) else {
            let message = format!("nobody plays {part} here");
            return self.end(myself, command, Err(Refused::new("not_found", message)));
        };
        entry.stops.push(command);
        self.end_role(myself, part);
    }

    fn end_role(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let Some(entry) = self.roles.get_mut(part) else {
            return;
        };
        entry.stopping = true;
        match &entry.actor {
            Some(actor) => {
                let _ = actor.cast(RoleMsg::Stop);
            }
            None => self.role_over(myself, part),
        }
    }

    /// Of all of them: this worker may not serve, or ends.
    pub(super) fn stop_roles(&mut self, myself: &Address<WorkerMsg>) {
        let parts: Vec<Part> = self.roles.keys().cloned().collect();
        for part in parts {
            self.end_role(myself, &part);
        }
    }

    pub(super) async fn role_said(
        &mut self,
        myself: &Address<WorkerMsg>,
        part: Part,
        news: RoleNews,
    ) {
        match news {
            RoleNews::Steady => self.role_steady(myself, &part),
            RoleNews::Due => self.role_due(myself, &part).await,
            RoleNews::Restart => self.restart_role(myself, &part).await,
            #[cfg(debug_assertions)]
            RoleNews::Fault(fault) => {
                if let Some(actor) = self.roles.get(&part).and_then(|role| role.actor.as_ref()) {
                    let _ = actor.cast(RoleMsg::Fault(fault));
                }
            }
        }
    }

    fn role_steady(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let Some(entry) = self.roles.get_mut(part) else {
            return;
        };
        let casting = entry.casting.clone();
        if let Some(command) = entry.asked.take() {
            let result = format!(
                "{} plays {part} in {}",
                casting.tool,
                casting.directory.display()
            );
            self.end(myself, command, Ok(result));
        }
        self.report(&casting, Run::Running, None);
    }

    /// Nothing happens when the actor was none of a role's.
    pub(super) fn role_ended(&mut self, myself: &Address<WorkerMsg>, end: &ChildEnd) {
        let (ChildEnd::Stopped(id) | ChildEnd::Crashed(id, _)) = end;
        let mut roles = self.roles.iter();
        let is_its = |role: &RoleEntry| role.actor.as_ref().is_some_and(|actor| actor.id() == *id);
        let Some(part) = roles
            .find(|(_, role)| is_its(role))
            .map(|(part, _)| part.clone())
        else {
            return;
        };
        match end {
            ChildEnd::Stopped(_) => self.role_over(myself, &part),
            ChildEnd::Crashed(_, error) => self.role_crashed(myself, &part, error.clone()),
        }
    }

    fn role_crashed(&mut self, myself: &Address<WorkerMsg>, part: &Part, error: String) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.roles.get_mut(part) else {
            return;
        };
        entry.actor = None;
        let casting = entry.casting.clone();
        if let Some(command) = entry.asked.take() {
            self.end(myself, command, Err(Refused::new("spawn", error.clone())));
            self.report(&casting, Run::Failed, Some(error));
            if let Some(entry) = self.forget_role(part) {
                self.end_stops(myself, part, entry.stops);
            }
            return;
        }
        if entry.stopping {
            return self.role_over(myself, part);
        }
        let verdict = entry.ledger.on_crash(now, rand::random());
        let restarts = entry.ledger.total();
        warn!(%part, %error, restarts, ?verdict, "assistant of a role crashed");
        let key = ActorKey::role(self.args.spec.id(), part);
        let mut card = ActorCard::new(
            key,
            Some(self.worker_key()),
            ActorKind::Role,
            part.to_string(),
        );
        card.detail.clone_from(&casting.tool);
        let now = self.args.ports.clock.boottime_ms();
        self.args
            .table
            .put(card.fallen(verdict, restarts, error.clone(), now));
        match verdict {
            Verdict::Restart { after_ms } => {
                let (myself, part) = (myself.clone(), part.clone());
                self.tasks.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    let _ = myself.cast(WorkerMsg::Role(part, RoleNews::Due));
                });
            }
            Verdict::Park => self.report(&casting, Run::Failed, Some(error)),
        }
    }

    async fn role_due(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let is_due = |role: &RoleEntry| role.actor.is_none() && !role.is_parked();
        if !self.stopping && self.roles.get(part).is_some_and(is_due) {
            self.spawn_role(myself, part).await;
        }
    }

    async fn restart_role(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let Some(entry) = self.roles.get_mut(part) else {
            return;
        };
        entry.ledger.forgive();
        match &entry.actor {
            // Its child goes with it, and the ledger brings the next one.
            Some(actor) => actor.kill(),
            None => self.role_due(myself, part).await,
        }
    }

    /// It has ended well, or because it was told to, and does not come back.
    fn role_over(&mut self, myself: &Address<WorkerMsg>, part: &Part) {
        let Some(entry) = self.forget_role(part) else {
            return;
        };
        let why = if entry.stopping {
            "it was stopped"
        } else {
            "it ended by itself"
        };
        info!(%part, tool = entry.casting.tool, why, "assistant of a role is gone");
        self.report(&entry.casting, Run::Ended, Some(why.to_owned()));
        if let Some(command) = entry.asked {
            let tool = &entry.casting.tool;
            let result = if entry.stopping {
                let message = "it was stopped before it had begun";
                Err(Refused::new("stopped", message))
            } else {
                Ok(format!("{tool} played {part} and has ended"))
            };
            self.end(myself, command, result);
        }
        self.end_stops(myself, part, entry.stops);
    }

    fn end_stops(&mut self, myself: &Address<WorkerMsg>, part: &Part, stops: Vec<CommandId>) {
        for command in stops {
            self.end(myself, command, Ok(format!("nobody plays {part} any more")));
        }
    }

    fn forget_role(&mut self, part: &Part) -> Option<RoleEntry> {
        let key = ActorKey::role(self.args.spec.id(), part);
        self.args.table.remove(&key);
        self.roles.remove(part)
    }

    /// The assistants of the incarnation that crashed went with it, and nobody said so.
    pub(super) fn end_predecessors_roles(&mut self, credential: &Credential) {
        let ended = calls::end_roles(&self.args.link, credential);
        self.tasks.spawn(async move {
            if let Err(error) = ended.await {
                warn!(%error, "the roles of a worker that crashed may be shown as running");
            }
        });
    }

    /// What the deployment shows is written again under a new right: it was told that the earlier supervisor has ended.
    pub(super) fn report_roles(&mut self) {
        let playing = self.roles.values();
        let playing = playing.filter(|role| role.actor.is_some() && role.asked.is_none());
        let castings: Vec<Arc<Casting>> = playing.map(|role| role.casting.clone()).collect();
        for casting in castings {
            self.report(&casting, Run::Running, None);
        }
    }

    /// Tells the deployment how a role's assistant stands. A later report takes the place of one that is still to be
    /// made again.
    fn report(&mut self, casting: &Arc<Casting>, run: Run, reason: Option<String>) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        if let Some(former) = self.reports.remove(&casting.part) {
            former.abort();
        }
        self.reports.retain(|_, report| !report.is_finished());
        let (link, told) = (self.args.link.clone(), casting.clone());
        // The link has it from here on, whatever becomes of this actor.
        let mut answer = calls::report_role(&link, &credential, &told, run, reason.clone());
        let report = self.tasks.spawn(async move {
            for _ in 0..REPORTS {
                match answer.await {
                    Ok(_) => return,
                    Err(error) if error.is_transient() => {
                        warn!(part = %told.part, %error, "a role's state is reported again");
                    }
                    Err(error) => {
                        warn!(part = %told.part, %error, "a role's state could not be reported");
                        return;
                    }
                }
                tokio::time::sleep(AGAIN).await;
                answer = calls::report_role(&link, &credential, &told, run, reason.clone());
            }
            warn!(part = %told.part, "a role's state could not be reported, and is given up");
        });
        self.reports.insert(casting.part.clone(), report);
    }
}

impl RoleEntry {
    fn is_parked(&self) -> bool {
        self.actor.is_none() && self.ledger.is_parked()
    }
}
