//! The worker's sessions: carrying out the plan, replacing what crashed, freeing slots.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::Actor;
use tracing::{debug, info, warn};

use super::messages::{Wish, WorkerMsg};
use super::state::{Entry, WorkerState};
use crate::calls;
use crate::domain::ids::SessionId;
use crate::domain::inbox::{LiveRequest, LiveState, OpenTurn, WorkerState as Approval};
use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
use crate::domain::phase::Phase;
use crate::domain::plan::{Action, Actual, plan};
use crate::domain::session::{Closing, Saying, SessionLimits};
use crate::session::{SessionActor, SessionArgs, SessionMsg};
use crate::supervision::{Address, ChildEnd, Gauge, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};

/// Sessions without a child that are kept as actors; beyond it the quietest ones are let go.
const MAX_IDLE_ACTORS: usize = 64;

impl WorkerState {
    /// Compares the newest snapshot with what is there and carries out the difference.
    pub(super) async fn reconcile(&mut self, myself: &Address<WorkerMsg>) {
        if self.stopping || self.credential.is_none() {
            return;
        }
        let Some(inbox) = &self.inbox else { return };
        let actual: BTreeMap<_, _> = self
            .sessions
            .iter()
            .map(|(session, entry)| (session.clone(), entry.actual()))
            .collect();
        let has_ended = |request: &&LiveRequest| request.state != LiveState::Open;
        // Of a session without an actor nothing waits: its turn ends, and with it what it asked.
        for request in inbox.requests.iter().filter(has_ended) {
            let message = SessionMsg::RequestEnded(request.request_id.clone());
            self.tell(&request.session_id, message);
        }
        for action in plan(inbox, &actual, self.args.spec.paused) {
            self.act(myself, action).await;
        }
        self.take_commands(myself);
    }

    async fn act(&mut self, myself: &Address<WorkerMsg>, action: Action) {
        match action {
            Action::Start(turn) => {
                self.let_idle_actors_go();
                let session = turn.session_id.clone();
                self.start(myself, session, Some(turn)).await;
            }
            Action::Serve(turn) => {
                let session = turn.session_id.clone();
                self.tell(&session, SessionMsg::Wanted(Some(turn)));
            }
            Action::Relax(session) => self.tell(&session, SessionMsg::Wanted(None)),
            Action::Refuse(turn) => self.refuse(myself, &turn),
            Action::End(session) => self.tell(&session, SessionMsg::Close(Closing::Ended)),
            Action::SayIdle(session) => self.say(&session, Saying::Idle, None),
            Action::SayFailed(session) => self.say_parked(&session),
            Action::SayEnded(session) => self.say(&session, Saying::Ended, None),
            Action::Forget(session, turn) => self.forget(myself, &session, turn.as_ref()),
            Action::StopAll => {
                self.close_all();
                self.stop_roles(myself);
                self.stop_tasks();
            }
        }
    }

    pub(super) fn tell(&self, session: &SessionId, message: SessionMsg) {
        if let Some(actor) = self
            .sessions
            .get(session)
            .and_then(|entry| entry.actor.as_ref())
        {
            // A dead actor is reported to us; its successor is planned afresh.
            let _ = actor.cast(message);
        }
    }

    /// In the link's queue when this returns. One that is not taken is said again by the plan of a later snapshot.
    pub(super) fn say(&mut self, session: &SessionId, saying: Saying, reason: Option<String>) {
        let Some(credential) = &self.credential else {
            return;
        };
        let answer = calls::set_status(&self.args.link, credential, session, saying, reason);
        let session = session.clone();
        self.tasks.spawn(async move {
            if let Err(error) = answer.await {
                debug!(%session, %error, "status not taken");
            }
        });
    }

    fn say_parked(&mut self, session: &SessionId) {
        let reason = parked_reason(session);
        self.say(session, Saying::Failed, Some(reason));
    }

    /// Those that wait for their restart have no actor that could say it.
    pub(super) fn say_idle_of_the_fallen(&mut self) {
        let fallen = |(_, entry): &(&SessionId, &Entry)| entry.actual() == Actual::BackingOff;
        let fallen = self.sessions.iter().filter(fallen);
        let fallen: Vec<_> = fallen.map(|(session, _)| session.clone()).collect();
        for session in fallen {
            self.say(&session, Saying::Idle, None);
        }
    }

    pub(super) fn close_all(&self) {
        for session in self.sessions.keys() {
            self.tell(session, SessionMsg::Close(Closing::Supervisor));
        }
    }

    async fn start(
        &mut self,
        myself: &Address<WorkerMsg>,
        session: SessionId,
        first: Option<OpenTurn>,
    ) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        let entry = self
            .sessions
            .entry(session.clone())
            .or_insert_with(Entry::new);
        let settings = &self.args.settings;
        let gauge = Gauge::default();
        let args = SessionArgs {
            session: session.clone(),
            worker: self.args.spec.clone(),
            parent: myself.clone(),
            ports: self.args.ports.clone(),
            link: self.args.link.clone(),
            credential,
            boot_id: self.args.boot_id.clone(),
            connections: self.args.connections.clone(),
            limits: SessionLimits {
                idle_ms: self.args.spec.idle_timeout_ms,
                silence_ms: settings.silence_ms,
                retry_limit_ms: settings.retry_limit_ms,
                request_ms: self.args.spec.answer_timeout_ms,
                policy: self.args.spec.permissions.clone(),
                on_interrupt: self.args.spec.on_interrupt,
            },
            slots: self.slots.clone(),
            table: self.args.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: entry.ledger.total(),
            first,
        };
        match SessionActor::spawn_linked(None, SessionActor, args, myself.cell()).await {
            Ok((actor, _)) => {
                entry.actor = Some(Address::new(actor, gauge));
                entry.fallen = None;
            }
            // Ractor reports nothing else of an actor that failed in its start.
            Err(error) => self.session_crashed(myself, session, error.to_string()),
        }
    }

    pub(super) async fn session_ended(&mut self, myself: &Address<WorkerMsg>, end: ChildEnd) {
        let (ChildEnd::Stopped(id) | ChildEnd::Crashed(id, _)) = &end;
        let Some(session) = self.session_of(*id) else {
            return;
        };
        match end {
            ChildEnd::Stopped(_) => {
                self.sessions.remove(&session);
                if !self.stopping && self.inbox.as_ref().is_some_and(|inbox| !inbox.displaced) {
                    self.reconcile(myself).await;
                }
            }
            ChildEnd::Crashed(_, error) => self.session_crashed(myself, session, error),
        }
    }

    fn session_of(&self, id: ractor::ActorId) -> Option<SessionId> {
        self.sessions
            .iter()
            .find(|(_, entry)| entry.actor.as_ref().is_some_and(|actor| actor.id() == id))
            .map(|(session, _)| session.clone())
    }

    fn session_crashed(&mut self, myself: &Address<WorkerMsg>, session: SessionId, error: String) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.actor = None;
        let verdict = entry.ledger.on_crash(now, rand::random());
        let restarts = entry.ledger.total();
        warn!(%session, %error, restarts, ?verdict, "session crashed");
        let key = ActorKey::session(&session);
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(self.args.spec.id())),
            ActorKind::Session,
            session.as_str(),
        );
        card.incarnation = next_incarnation();
        let guard = CardGuard::new(self.args.table.clone(), key, card.incarnation);
        let now = self.args.ports.clock.boottime_ms();
        self.args
            .table
            .put_fallen(card.fallen(verdict, restarts, error, now));
        entry.fallen = Some(guard);
        match verdict {
            Verdict::Restart { after_ms } => {
                let myself = myself.clone();
                self.tasks.spawn(async move {
                    if after_ms > 0 {
                        tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    }
                    let _ = myself.cast(WorkerMsg::SessionDue(session));
                });
            }
            // The next snapshot, or this one again, closes its turn.
            Verdict::Park => {
                self.say_parked(&session);
                let _ = myself.cast(WorkerMsg::SessionDue(session));
            }
        }
    }

    /// Backoff over: a successor, and a fresh plan for it.
    pub(super) async fn session_due(&mut self, myself: &Address<WorkerMsg>, session: SessionId) {
        let due = self
            .sessions
            .get(&session)
            .is_some_and(|entry| entry.actual() == Actual::BackingOff);
        if due && !self.stopping {
            self.start(myself, session, None).await;
        }
        self.reconcile(myself).await;
    }

    pub(super) async fn restart_session(
        &mut self,
        myself: &Address<WorkerMsg>,
        session: SessionId,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let was_parked = entry.ledger.is_parked();
        entry.ledger.forgive();
        match &entry.actor {
            // It would not hear of it.
            Some(actor) if actor.gauge().read().stuck.is_some() => actor.kill(),
            Some(_) => self.tell(&session, SessionMsg::Restart),
            None => {
                if was_parked {
                    self.say(&session, Saying::Idle, None);
                }
                self.session_due(myself, session).await;
            }
        }
    }

    /// A session that nobody has worked in since the start has no actor yet, a parked one has none any more.
    pub(super) async fn grant(
        &mut self,
        myself: &Address<WorkerMsg>,
        session: SessionId,
        wish: Wish,
    ) -> Result<(), String> {
        if wish == Wish::Rest {
            self.tell(&session, SessionMsg::Release);
            return Ok(());
        }
        let serves = self.inbox.as_ref().is_some_and(|inbox| {
            !inbox.displaced && inbox.state == Approval::Approved && self.credential.is_some()
        });
        if self.stopping || !serves {
            return Err("its worker does not serve now: look at orchestrator ps".to_owned());
        }
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.ledger.forgive();
        }
        let has_actor = self
            .sessions
            .get(&session)
            .is_some_and(|entry| entry.actor.is_some());
        if !has_actor {
            self.let_idle_actors_go();
            self.start(myself, session.clone(), None).await;
        }
        self.tell(&session, SessionMsg::Wake);
        Ok(())
    }

    /// Somebody waits for a child slot: the session that has been ready the longest gives its child up.
    pub(super) fn free_a_slot(&self, wanted_by: &SessionId) {
        let quietest = self
            .cards()
            .filter(|(session, card)| session != wanted_by && card.phase == Phase::Ready)
            .min_by_key(|(_, card)| card.since_ms);
        if let Some((session, _)) = quietest {
            info!(%session, for_session = %wanted_by, "child given up for another session");
            self.tell(&session, SessionMsg::Release);
        }
    }

    fn let_idle_actors_go(&self) {
        let mut idle: Vec<_> = self
            .cards()
            .filter(|(_, card)| card.phase == Phase::Idle)
            .collect();
        if idle.len() < MAX_IDLE_ACTORS {
            return;
        }
        idle.sort_by_key(|(_, card)| card.since_ms);
        for (session, _) in idle.iter().take(idle.len() + 1 - MAX_IDLE_ACTORS) {
            self.tell(session, SessionMsg::Close(Closing::Supervisor));
        }
    }

    pub(super) fn cards(&self) -> impl Iterator<Item = (SessionId, ActorCard)> {
        self.sessions.keys().filter_map(|session| {
            self.args
                .table
                .get(&ActorKey::session(session))
                .map(|card| (session.clone(), card))
        })
    }
}

/// Why a parked session takes no turn, for people.
pub(super) fn parked_reason(session: &SessionId) -> String {
    format!(
        "this session crashed too often and is parked; `orchestrator restart session/{session}` gives it another chance"
    )
}

impl Entry {
    fn new() -> Self {
        Self {
            actor: None,
            fallen: None,
            ledger: RestartLedger::new(Intensity::SESSION),
        }
    }

    fn actual(&self) -> Actual {
        match &self.actor {
            Some(_) => Actual::Live,
            None if self.ledger.is_parked() => Actual::Parked,
            None => Actual::BackingOff,
        }
    }
}
