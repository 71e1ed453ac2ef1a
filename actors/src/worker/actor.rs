//! The actor: one arm per message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::Semaphore;
use tracing::info;

use super::messages::{Standing, WorkerMsg};
use super::state::{WorkerArgs, WorkerState};
use crate::domain::inbox::{Inbox, WorkerState as Approval};
use crate::domain::phase::Phase;
use crate::supervision::{Tasks, child_end};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};

pub struct WorkerActor;

impl Actor for WorkerActor {
    type Msg = WorkerMsg;
    type State = WorkerState;
    type Arguments = WorkerArgs;

    async fn pre_start(
        &self,
        _: ActorRef<WorkerMsg>,
        args: WorkerArgs,
    ) -> Result<WorkerState, ActorProcessingErr> {
        let key = ActorKey::worker(args.spec.id());
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
        card.directory = Some(args.spec.directory.to_string());
        card.max_sessions = Some(args.spec.max_sessions);
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key, args.incarnation);
        Ok(WorkerState {
            slots: Arc::new(Semaphore::new(args.spec.max_sessions)),
            args,
            credential: None,
            inbox: None,
            sessions: BTreeMap::new(),
            refusing: BTreeSet::new(),
            stopping: false,
            tasks: Tasks::default(),
            _card: guard,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMsg>,
        message: WorkerMsg,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMsg::Connected(credential) => state.credential = Some(credential),
            WorkerMsg::Snapshot(inbox) => state.snapshot(&myself, inbox).await,
            WorkerMsg::Standing(standing) => state.stand(&standing),
            WorkerMsg::Configure(spec) => state.configure(spec),
            WorkerMsg::SlotWanted(session) => state.free_a_slot(&session),
            WorkerMsg::SessionDue(session) => state.session_due(&myself, session).await,
            WorkerMsg::RestartSession(session) => state.restart_session(&myself, session).await,
            WorkerMsg::Refused(session) => {
                state.refusing.remove(&session);
            }
            WorkerMsg::Stop => state.stop(&myself),
            #[cfg(debug_assertions)]
            WorkerMsg::Panic(session) => state.panic(session.as_ref()),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<WorkerMsg>,
        event: SupervisionEvent,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(end) = child_end(&event) {
            state.session_ended(&myself, end).await;
        }
        Ok(())
    }
}

impl WorkerState {
    async fn snapshot(&mut self, myself: &ActorRef<WorkerMsg>, inbox: Inbox) {
        let standing = match (inbox.displaced, inbox.state) {
            (true, _) => Standing {
                phase: Phase::Displaced,
                detail: "another supervisor took this worker over; stopped here for good"
                    .to_owned(),
            },
            (_, Approval::Pending) => Standing {
                phase: Phase::Pending,
                detail: "waits for its owner's approval".to_owned(),
            },
            (_, Approval::Revoked | Approval::Removed) => Standing {
                phase: Phase::Revoked,
                detail: "revoked by its owner".to_owned(),
            },
            (_, Approval::Approved) => Standing {
                phase: Phase::Ready,
                detail: String::new(),
            },
        };
        self.stand(&standing);
        self.inbox = Some(inbox);
        self.reconcile(myself).await;
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

    fn configure(&mut self, spec: Arc<crate::machine::WorkerSpec>) {
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
            if let Some((_, actor)) = &entry.actor {
                let _ = actor.cast(crate::session::SessionMsg::SetIdle(spec.idle_timeout_ms));
            }
        }
        self.args
            .table
            .change(&ActorKey::worker(spec.id()), |card| {
                card.name.clone_from(&spec.name);
                card.max_sessions = Some(spec.max_sessions);
            });
        self.args.spec = spec;
    }

    fn stop(&mut self, myself: &ActorRef<WorkerMsg>) {
        self.stopping = true;
        self.args
            .table
            .change(&ActorKey::worker(self.args.spec.id()), |card| {
                card.phase = Phase::Stopping;
            });
        self.close_all();
        self.stop_when_empty(myself);
    }

    pub(super) fn stop_when_empty(&self, myself: &ActorRef<WorkerMsg>) {
        if self.stopping && self.sessions.values().all(|entry| entry.actor.is_none()) {
            myself.stop(None);
        }
    }

    #[cfg(debug_assertions)]
    fn panic(&self, session: Option<&crate::domain::ids::SessionId>) {
        match session {
            None => panic!("a panic was injected into worker {}", self.args.spec.id()),
            Some(session) => {
                if let Some((_, actor)) = self
                    .sessions
                    .get(session)
                    .and_then(|entry| entry.actor.as_ref())
                {
                    let _ = actor.cast(crate::session::SessionMsg::Panic);
                }
            }
        }
    }
}
