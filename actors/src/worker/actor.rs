//! The actor: one arm per message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::Semaphore;
use tracing::info;

use super::messages::{CommandMsg, DISPLACED, Standing, WorkerMsg};
use super::state::{WorkerArgs, WorkerState};
use crate::domain::inbox::{Inbox, WorkerState as Approval};
use crate::domain::phase::Phase;
use crate::domain::session::Changeable;
use crate::machine::WorkerSpec;
use crate::ports::link::Credential;
use crate::session::SessionMsg;
use crate::supervision::{Address, Envelope, Tasks, child_end};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};

/// At a stop, for the results of commands that were carried out.
const LAST_RESULTS: Duration = Duration::from_secs(2);

pub struct WorkerActor;

impl Actor for WorkerActor {
    type Msg = Envelope<WorkerMsg>;
    type State = WorkerState;
    type Arguments = WorkerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<WorkerMsg>>,
        args: WorkerArgs,
    ) -> Result<WorkerState, ActorProcessingErr> {
        let key = ActorKey::worker(args.spec.id());
        let myself = Address::new(myself, args.gauge.clone());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::machine()),
            ActorKind::Worker,
            args.spec.name.clone(),
        );
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.ports.clock.boottime_ms();
        card.detail.push_str("waits for its deployment");
        card.deployment = Some(args.spec.url.to_string());
        card.machine = Some(args.spec.token.machine().to_string());
        card.directory = Some(args.spec.directory.to_string());
        card.max_sessions = Some(args.spec.max_sessions);
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        Ok(WorkerState {
            slots: Arc::new(Semaphore::new(args.spec.max_sessions)),
            args,
            myself,
            credential: None,
            inbox: None,
            sessions: BTreeMap::new(),
            roles: BTreeMap::new(),
            reports: BTreeMap::new(),
            in_hand: BTreeSet::new(),
            queue: None,
            looked: false,
            left: false,
            closing: BTreeSet::new(),
            stopping: false,
            leaving: false,
            tasks: Tasks::default(),
            _card: guard,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<WorkerMsg>>,
        message: Envelope<WorkerMsg>,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        let myself = state.myself.clone();
        match message {
            WorkerMsg::Connected(credential) => state.connected(&myself, credential),
            WorkerMsg::Snapshot(inbox) => state.snapshot(&myself, inbox).await,
            WorkerMsg::Standing(standing) => state.stand(&standing),
            WorkerMsg::Configure(spec) => state.configure(&myself, spec).await,
            WorkerMsg::SlotWanted(session) => state.free_a_slot(&session),
            WorkerMsg::SessionDue(session) => state.session_due(&myself, session).await,
            WorkerMsg::RestartSession(session) => state.restart_session(&myself, session).await,
            WorkerMsg::Wish {
                session,
                wish,
                reply,
            } => {
                let _ = reply.send(state.grant(&myself, session, wish).await);
            }
            WorkerMsg::CloseAgain(turn) => state.close_again(&myself, &turn).await,
            WorkerMsg::Command(message) => state.command(&myself, message).await,
            WorkerMsg::Role(part, news) => state.role_said(&myself, part, news).await,
            WorkerMsg::Tasks(news) => state.task_news(&myself, news).await,
            WorkerMsg::Stop => state.stop(&myself),
            #[cfg(debug_assertions)]
            WorkerMsg::Fault(session, fault) => state.fault(session.as_ref(), fault).await?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Envelope<WorkerMsg>>,
        event: SupervisionEvent,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        let _handling = state.myself.gauge().begin("a child's end");
        let myself = state.myself.clone();
        if let Some(end) = child_end(&event) {
            state.role_ended(&myself, &end);
            state.tasks_ended(&myself, &end).await;
            state.session_ended(&myself, end).await;
            state.stop_when_empty(&myself);
        }
        Ok(())
    }
}

impl WorkerState {
    /// A new right to write: of a new epoch (which can rise without a snapshot that says so: while the bridge was down, or the
    /// deployment away), or of a new token. What runs goes on under it.
    fn connected(&mut self, myself: &Address<WorkerMsg>, credential: Credential) {
        for session in self.sessions.keys() {
            self.tell(session, SessionMsg::Renew(credential.clone()));
        }
        if self.credential.is_none() && self.args.restarts > 0 {
            self.end_predecessors_roles(&credential);
        }
        self.credential = Some(credential);
        self.renew_tasks();
        self.report_roles();
        self.look_for_leftovers(myself);
    }

    async fn snapshot(&mut self, myself: &Address<WorkerMsg>, inbox: Inbox) {
        let standing = match (inbox.displaced, inbox.state) {
            (true, _) => Standing {
                phase: Phase::Displaced,
                detail: DISPLACED.to_owned(),
            },
            (_, Approval::Pending) => Standing {
                phase: Phase::Pending,
                detail: "waits for its owner's approval".to_owned(),
            },
            (_, Approval::Revoked) => Standing {
                phase: Phase::Revoked,
                detail: "revoked by its owner".to_owned(),
            },
            (_, Approval::Removed) => Standing {
                phase: Phase::Revoked,
                detail: "removed by its owner: create a new worker and use its token".to_owned(),
            },
            (_, Approval::Approved) if self.args.spec.paused => Standing {
                phase: Phase::Paused,
                detail: "paused: it takes no new turns until `orchestrator worker resume`"
                    .to_owned(),
            },
            (_, Approval::Approved) => Standing {
                phase: Phase::Ready,
                detail: String::new(),
            },
        };
        self.stand(&standing);
        self.closing
            .retain(|closed| inbox.turns.iter().any(|turn| turn.turn_id == *closed));
        self.inbox = Some(inbox);
        self.reconcile(myself).await;
        self.serve_tasks(myself, true).await;
    }

    fn stand(&self, standing: &Standing) {
        if self.stopping {
            return;
        }
        let now = self.args.ports.clock.boottime_ms();
        self.args.table.change(&ActorKey::worker(self.args.spec.id()), |card| {
            if card.phase != standing.phase {
                info!(worker = %card.name, phase = ?standing.phase, detail = %standing.detail, "worker");
                card.since_ms = now;
            }
            card.phase = standing.phase;
            card.detail.clone_from(&standing.detail);
        });
    }

    async fn configure(&mut self, myself: &Address<WorkerMsg>, spec: Arc<WorkerSpec>) {
        let (old, new) = (self.args.spec.max_sessions, spec.max_sessions);
        if new > old {
            self.slots.add_permits(new - old);
        } else {
            // Occupied slots are given up as their children stop.
            let slots = self.slots.clone();
            let surplus = (old - new) as u32;
            if surplus > 0 {
                self.tasks.spawn(async move {
                    if let Ok(permits) = slots.acquire_many_owned(surplus).await {
                        permits.forget();
                    }
                });
            }
        }
        for entry in self.sessions.values() {
            if let Some(actor) = &entry.actor {
                let _ = actor.cast(SessionMsg::Configure(Changeable {
                    idle_ms: spec.idle_timeout_ms,
                    on_interrupt: spec.on_interrupt,
                    request_ms: spec.answer_timeout_ms,
                    policy: spec.permissions.clone(),
                }));
            }
        }
        self.args
            .table
            .change(&ActorKey::worker(spec.id()), |card| {
                card.name.clone_from(&spec.name);
                card.max_sessions = Some(spec.max_sessions);
            });
        let was_paused = self.args.spec.paused;
        let other_tasks = self.args.spec.tasks != spec.tasks;
        self.args.spec = spec;
        if other_tasks || self.args.spec.paused {
            self.drain_tasks();
            self.serve_tasks(myself, true).await;
        }
        if was_paused != self.args.spec.paused
            && let Some(inbox) = self.inbox.clone()
        {
            // The same snapshot, read anew.
            self.snapshot(myself, inbox).await;
        }
    }

    fn stop(&mut self, myself: &Address<WorkerMsg>) {
        self.stopping = true;
        self.args
            .table
            .change(&ActorKey::worker(self.args.spec.id()), |card| {
                card.phase = Phase::Stopping;
            });
        self.say_idle_of_the_fallen();
        self.close_all();
        self.stop_roles(myself);
        self.stop_tasks();
        self.stop_when_empty(myself);
    }

    pub(super) fn stop_when_empty(&mut self, myself: &Address<WorkerMsg>) {
        let no_session = self.sessions.values().all(|entry| entry.actor.is_none());
        if !self.stopping || !no_session || !self.roles.is_empty() || self.has_task_actor() {
            return;
        }
        if self.in_hand.is_empty() {
            return myself.stop();
        }
        // Whoever asked for something hears how it ended; of a deployment that is away the successor ends it.
        if !std::mem::replace(&mut self.leaving, true) {
            let myself = myself.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(LAST_RESULTS).await;
                let _ = myself.cast(WorkerMsg::Command(CommandMsg::Leave));
            });
        }
    }

    #[cfg(debug_assertions)]
    async fn fault(
        &self,
        session: Option<&crate::domain::ids::SessionId>,
        fault: crate::supervision::fault::Fault,
    ) -> Result<(), ActorProcessingErr> {
        match session {
            None => fault.strike(&ActorKey::worker(self.args.spec.id())).await,
            Some(session) => {
                self.tell(session, SessionMsg::Fault(fault));
                Ok(())
            }
        }
    }
}
