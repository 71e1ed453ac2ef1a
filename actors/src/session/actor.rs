//! The actor: messages to inputs, effects to tasks.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use super::messages::SessionMsg;
use super::state::{ChildGuard, OpenedChild, SessionArgs, SessionState};
use crate::calls;
use crate::domain::assistant::{AgentError, AgentEvent, ExitReport};
use crate::domain::ids::ConversationId;
use crate::domain::phase::Phase;
use crate::domain::session::{ConverseError, Effect, Input, Saying, SessionMachine};
use crate::domain::turn::Ending;
use crate::ports::agent::OpenSpec;
use crate::supervision::Tasks;
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};
use crate::worker::WorkerMsg;

/// Events of the child that may wait in the mailbox at once.
const EVENT_CREDIT: usize = 256;
/// How often timers are looked at while there is something to time.
const TICK: Duration = Duration::from_millis(200);
/// How often the child's memory is looked at.
const MEMORY: Duration = Duration::from_secs(1);
/// After a planned stop the last events get this long to arrive.
const LAST_EVENTS: Duration = Duration::from_secs(2);

pub struct SessionActor;

impl Actor for SessionActor {
    type Msg = SessionMsg;
    type State = SessionState;
    type Arguments = SessionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMsg>,
        args: SessionArgs,
    ) -> Result<SessionState, ActorProcessingErr> {
        let key = ActorKey::session(&args.session);
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(args.worker.id())),
            ActorKind::Session,
            args.session.as_str(),
        );
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.ports.clock.wall_ms();
        args.table.put(card);
        let machine = SessionMachine::new(args.boot_id.clone(), args.limits.clone());
        let guard = CardGuard::new(args.table.clone(), key, args.incarnation);
        let first = args.first.clone();
        let state = SessionState {
            args,
            machine,
            tasks: Tasks::default(),
            child: None,
            opening: None,
            child_number: 0,
            ticking: None,
            _card: guard,
        };
        myself.cast(SessionMsg::Wanted(first))?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMsg>,
        message: SessionMsg,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMsg::Wanted(open) => state.feed(&myself, Input::Wanted(open)),
            SessionMsg::Release => state.feed(&myself, Input::Release),
            SessionMsg::Restart => state.feed(&myself, Input::Restart),
            SessionMsg::Close(closing) => state.feed(&myself, Input::Close(closing)),
            SessionMsg::SetIdle(idle_ms) => state.machine.set_idle(idle_ms),
            SessionMsg::ChildOpened { child, result } => state.child_opened(&myself, child, result),
            SessionMsg::ChildSaid {
                child,
                input,
                credit,
            } => {
                drop(credit);
                state.child_said(&myself, child, input);
            }
            SessionMsg::DeploymentSaid(input) => state.feed(&myself, input),
            SessionMsg::Tick => state.feed(&myself, Input::Tick),
            #[cfg(debug_assertions)]
            SessionMsg::Panic => panic!("a panic was injected into session {}", state.args.session),
        }
        Ok(())
    }
}

impl SessionState {
    /// Feeds the machine and does what it says, until it says nothing more.
    fn feed(&mut self, myself: &ActorRef<SessionMsg>, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.args.ports.clock.monotonic_ms();
            for effect in self.machine.on(input, now, rand::random()) {
                if let Some(next) = self.perform(myself, effect) {
                    inputs.push_back(next);
                }
            }
        }
        self.keep_ticking(myself);
        self.show();
    }

    fn perform(&mut self, myself: &ActorRef<SessionMsg>, effect: Effect) -> Option<Input> {
        match effect {
            Effect::OpenChild => self.open_child(myself),
            Effect::StopChild => self.stop_child(myself),
            Effect::Claim(turn) => {
                let answer = calls::claim(&self.args.link, &self.args.credential, &turn);
                self.report(myself, async move { Input::Claimed(answer.await) });
            }
            Effect::Title(title) => {
                self.args
                    .table
                    .change(&ActorKey::session(&self.args.session), |card| {
                        card.name = title;
                    })
            }
            Effect::OpenStream { turn, next_index } => {
                self.args
                    .link
                    .open_stream(turn, self.args.credential.clone(), next_index);
            }
            Effect::Converse { known, title } => self.converse(myself, known, title),
            Effect::Lookup(conversation, turn) => {
                let Some(child) = &self.child else {
                    return Some(Input::LookedUp(Err(gone())));
                };
                let answer = child.agent.lookup(conversation, turn);
                self.report_child(myself, async move { Input::LookedUp(answer.await) });
            }
            Effect::Deliver(prompt) => {
                let Some(child) = &self.child else {
                    return Some(Input::Delivered(Err(gone())));
                };
                info!(session = %self.args.session, turn = %prompt.turn, "prompt delivered");
                let answer = child.agent.deliver(*prompt);
                self.report_child(myself, async move { Input::Delivered(answer.await) });
            }
            Effect::Abort(conversation) => {
                if let Some(child) = &self.child {
                    let answer = child.agent.abort(conversation);
                    self.tasks.spawn(async move {
                        if let Err(error) = answer.await {
                            debug!(%error, "abort not taken; it is asked for again");
                        }
                    });
                }
            }
            Effect::Reject(request, reason) => {
                if let Some(child) = &self.child {
                    let answer = child.agent.reject(request, reason);
                    self.tasks.spawn(async move {
                        if let Err(error) = answer.await {
                            warn!(%error, "a request of the assistant could not be rejected");
                        }
                    });
                }
            }
            Effect::Push(turn, drafts) => {
                return self
                    .args
                    .link
                    .push(&turn, drafts)
                    .err()
                    .map(Input::StreamRefused);
            }
            Effect::Finish(turn, ending) => self.finish(myself, turn, ending),
            Effect::Say(saying, reason) => self.say(saying, reason),
            Effect::Done => myself.stop(None),
        }
        None
    }

    fn open_child(&mut self, myself: &ActorRef<SessionMsg>) {
        self.child_number += 1;
        let child = self.child_number;
        let spec = OpenSpec {
            worker: self.args.worker.id().clone(),
            session: self.args.session.clone(),
            directory: self.args.worker.directory.clone(),
            incarnation: self.args.incarnation,
        };
        let agents = self.args.ports.agents.clone();
        let slots = self.args.slots.clone();
        let parent = self.args.parent.clone();
        let session = self.args.session.clone();
        let myself = myself.clone();
        self.opening = Some(self.tasks.spawn(async move {
            let result = match take_slot(slots, &parent, session).await {
                None => Err(AgentError::Boot("the worker is stopping".to_owned())),
                Some(slot) => agents
                    .open(spec)
                    .await
                    .map(|opened| Box::new(OpenedChild { opened, slot })),
            };
            let _ = myself.cast(SessionMsg::ChildOpened { child, result });
        }));
    }

    fn child_opened(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        child: u64,
        result: Result<Box<OpenedChild>, AgentError>,
    ) {
        // An outdated child is dropped here, and with it its lifeline.
        if child != self.child_number || self.opening.take().is_none() {
            return;
        }
        let result = result.map(|opened_child| {
            let OpenedChild { opened, slot } = *opened_child;
            let (over, events_over) = watch::channel(false);
            let agent: Arc<dyn crate::ports::agent::Agent> = Arc::from(opened.agent);
            info!(session = %self.args.session, pid = agent.pid(), "assistant started");
            self.tasks.spawn(sample_memory(
                Arc::downgrade(&agent),
                self.args.table.clone(),
                ActorKey::session(&self.args.session),
            ));
            self.child = Some(ChildGuard {
                agent,
                _slot: slot,
                events_over,
            });
            self.tasks
                .spawn(forward(opened.events, myself.clone(), child, over));
        });
        if let Err(error) = &result {
            warn!(session = %self.args.session, %error, "assistant did not start");
        }
        self.feed(myself, Input::Opened(result));
    }

    fn child_said(&mut self, myself: &ActorRef<SessionMsg>, child: u64, input: Input) {
        if child != self.child_number {
            return;
        }
        match &input {
            Input::Event(AgentEvent::Exited { report }) => {
                warn!(session = %self.args.session, ?report, "assistant ended");
                if self.child.is_some() && !self.is_stopping_child() {
                    self.child = None;
                }
            }
            Input::ChildStopped => self.child = None,
            _ => {}
        }
        self.feed(myself, input);
    }

    fn is_stopping_child(&self) -> bool {
        self.machine.view().phase == Phase::Stopping
    }

    fn stop_child(&mut self, myself: &ActorRef<SessionMsg>) {
        if let Some(opening) = self.opening.take() {
            opening.abort();
        }
        let stopping = self
            .child
            .as_ref()
            .map(|child| (child.agent.stop(), child.events_over.clone()));
        self.report_child(myself, async move {
            if let Some((stop, mut events_over)) = stopping {
                stop.await;
                let _ = tokio::time::timeout(LAST_EVENTS, events_over.wait_for(|over| *over)).await;
            }
            Input::ChildStopped
        });
    }

    fn converse(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        known: Option<ConversationId>,
        title: String,
    ) {
        let found = self
            .child
            .as_ref()
            .map(|child| child.agent.conversation(known.clone(), title));
        let link = self.args.link.clone();
        let credential = self.args.credential.clone();
        let session = self.args.session.clone();
        self.report_child(myself, async move {
            let Some(found) = found else {
                return Input::Conversed(Err(ConverseError::Agent(gone())));
            };
            let conversation = match found.await {
                Ok(conversation) => conversation,
                Err(error) => return Input::Conversed(Err(ConverseError::Agent(error))),
            };
            if known.as_ref() == Some(&conversation) {
                return Input::Conversed(Ok(conversation));
            }
            let confirmed = calls::confirm(&link, &credential, &session, &conversation).await;
            Input::Conversed(confirmed.map(|_| conversation).map_err(ConverseError::Call))
        });
    }

    /// The link owns a finish: it goes on when this actor is gone.
    fn finish(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        turn: crate::domain::ids::TurnId,
        ending: Ending,
    ) {
        info!(session = %self.args.session, %turn, outcome = ?ending.outcome,
            reason = ending.error.as_ref().map(|error| error.code.as_str()), "turn ended");
        let answer = self
            .args
            .link
            .finish(turn.clone(), self.args.credential.clone(), ending);
        let myself = myself.clone();
        tokio::spawn(async move {
            let result = answer.await;
            if let Err(error) = &result {
                warn!(%turn, %error, "finish refused");
            }
            let _ = myself.cast(SessionMsg::DeploymentSaid(Input::Finished(turn, result)));
        });
    }

    fn say(&mut self, saying: Saying, reason: Option<String>) {
        let answer = calls::set_status(
            &self.args.link,
            &self.args.credential,
            &self.args.session,
            saying,
            reason,
        );
        let session = self.args.session.clone();
        tokio::spawn(async move {
            if let Err(error) = answer.await {
                debug!(%session, %error, "status not taken");
            }
        });
    }

    fn report(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        step: impl Future<Output = Input> + Send + 'static,
    ) {
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let _ = myself.cast(SessionMsg::DeploymentSaid(step.await));
        });
    }

    fn report_child(
        &mut self,
        myself: &ActorRef<SessionMsg>,
        step: impl Future<Output = Input> + Send + 'static,
    ) {
        let myself = myself.clone();
        let child = self.child_number;
        self.tasks.spawn(async move {
            let input = step.await;
            let _ = myself.cast(SessionMsg::ChildSaid {
                child,
                input,
                credit: None,
            });
        });
    }

    fn keep_ticking(&mut self, myself: &ActorRef<SessionMsg>) {
        let needed = self.machine.has_timers();
        match (&self.ticking, needed) {
            (None, true) => {
                let myself = myself.clone();
                self.ticking = Some(self.tasks.spawn(async move {
                    let mut interval = tokio::time::interval(TICK);
                    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                    loop {
                        interval.tick().await;
                        if myself.cast(SessionMsg::Tick).is_err() {
                            return;
                        }
                    }
                }));
            }
            (Some(ticking), false) => {
                ticking.abort();
                self.ticking = None;
            }
            _ => {}
        }
    }

    fn show(&self) {
        let view = self.machine.view();
        let pid = self.child.as_ref().map(|child| child.agent.pid());
        let now = self.args.ports.clock.wall_ms();
        self.args
            .table
            .change(&ActorKey::session(&self.args.session), |card| {
                if card.incarnation != self.args.incarnation {
                    return;
                }
                if card.phase != view.phase {
                    card.since_ms = now;
                }
                card.phase = view.phase;
                card.restarts = self.args.restarts + view.crashes;
                card.detail = view
                    .waits_for
                    .map(|what| format!("waits for an answer: {what}"))
                    .unwrap_or_default();
                card.last_error = view.last_error;
                card.turn = view.turn.map(|turn| turn.to_string());
                card.chunks = view.items;
                card.turns = view.turns_served;
                card.agent_pid = pid;
                if pid.is_none() {
                    card.agent_rss_bytes = None;
                }
            });
    }
}

/// Waits for a child slot of the worker; asks for one when there is none.
async fn take_slot(
    slots: Arc<Semaphore>,
    parent: &ActorRef<WorkerMsg>,
    session: crate::domain::ids::SessionId,
) -> Option<tokio::sync::OwnedSemaphorePermit> {
    if let Ok(slot) = slots.clone().try_acquire_owned() {
        return Some(slot);
    }
    let mut wait = Box::pin(slots.acquire_owned());
    loop {
        let _ = parent.cast(WorkerMsg::SlotWanted(session.clone()));
        if let Ok(slot) = tokio::time::timeout(Duration::from_secs(1), &mut wait).await {
            return slot.ok();
        }
    }
}

/// Events of the child become messages, never more at once than the mailbox has credit for.
async fn forward(
    mut events: tokio::sync::mpsc::Receiver<AgentEvent>,
    myself: ActorRef<SessionMsg>,
    child: u64,
    over: watch::Sender<bool>,
) {
    let credits = Arc::new(Semaphore::new(EVENT_CREDIT));
    let mut exited = false;
    while let Some(event) = events.recv().await {
        exited |= matches!(event, AgentEvent::Exited { .. });
        let Ok(credit) = credits.clone().acquire_owned().await else {
            break;
        };
        let message = SessionMsg::ChildSaid {
            child,
            input: Input::Event(event),
            credit: Some(credit),
        };
        if myself.cast(message).is_err() {
            return;
        }
    }
    if !exited {
        let event = AgentEvent::Exited {
            report: ExitReport::default(),
        };
        let _ = myself.cast(SessionMsg::ChildSaid {
            child,
            input: Input::Event(event),
            credit: None,
        });
    }
    let _ = over.send(true);
}

/// Keeps the memory figure of the card fresh while the child lives.
async fn sample_memory(
    agent: Weak<dyn crate::ports::agent::Agent>,
    table: crate::table::ActorTable,
    key: ActorKey,
) {
    let mut interval = tokio::time::interval(MEMORY);
    loop {
        interval.tick().await;
        let Some(agent) = agent.upgrade() else { return };
        let (pid, rss) = (agent.pid(), agent.rss_bytes());
        table.change(&key, |card| {
            if card.agent_pid == Some(pid) {
                card.agent_rss_bytes = Some(rss);
            }
        });
    }
}

fn gone() -> AgentError {
    AgentError::Failed("the assistant is gone".to_owned())
}
