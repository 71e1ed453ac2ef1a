//! The session's child: opened in a task with a slot of the worker, guarded in the state, its events forwarded with
//! credit, stopped as planned.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use super::messages::SessionMsg;
use super::state::{ChildGuard, OpenedChild, SessionState};
use crate::domain::assistant::{AgentError, AgentEvent, ExitReport};
use crate::domain::ids::SessionId;
use crate::domain::phase::Phase;
use crate::domain::session::Input;
use crate::ports::agent::{Agent, OpenSpec, Waiting};
use crate::supervision::Address;
use crate::table::{ActorKey, ActorTable};
use crate::worker::WorkerMsg;

/// Events of the child that may wait in the mailbox at once.
const EVENT_CREDIT: usize = 256;
/// How often the child's memory is looked at.
const MEMORY: Duration = Duration::from_secs(1);
/// A planned stop asks, waits and kills, all of it within this time; then the lifeline is closed instead.
const STOP: Duration = Duration::from_secs(30);
/// After a planned stop the last events get this long to arrive.
const LAST_EVENTS: Duration = Duration::from_secs(2);

impl SessionState {
    pub(super) fn open_child(&mut self, myself: &Address<SessionMsg>) {
        self.child_number += 1;
        self.waiting = Waiting::default();
        let child = self.child_number;
        let spec = OpenSpec {
            worker: self.args.worker.id().clone(),
            session: self.args.session.clone(),
            directory: self.args.worker.directory.clone(),
            incarnation: self.args.incarnation,
            waiting: self.waiting.clone(),
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

    pub(super) fn child_opened(
        &mut self,
        myself: &Address<SessionMsg>,
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
            let agent: Arc<dyn Agent> = Arc::from(opened.agent);
            self.args.table.counters().assistant();
            info!(session = %self.args.session, worker = %self.args.worker.id(), pid = agent.pid(), "assistant started");
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
            warn!(session = %self.args.session, worker = %self.args.worker.id(), %error, "assistant did not start");
        }
        self.feed(myself, Input::Opened(result));
    }

    pub(super) fn child_said(&mut self, myself: &Address<SessionMsg>, child: u64, input: Input) {
        if child != self.child_number {
            return;
        }
        match &input {
            Input::Event(AgentEvent::Exited { report }) => {
                let (session, worker) = (&self.args.session, self.args.worker.id());
                if self.is_stopping_child() {
                    info!(%session, %worker, "assistant stopped");
                } else {
                    warn!(%session, %worker, reason = %report, "assistant ended");
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

    pub(super) fn stop_child(&mut self, myself: &Address<SessionMsg>) {
        if let Some(opening) = self.opening.take() {
            opening.abort();
            self.waiting = Waiting::default();
        }
        let stopping = self
            .child
            .as_ref()
            .map(|child| (child.agent.stop(), child.events_over.clone()));
        self.report_child(myself, async move {
            if let Some((stop, mut events_over)) = stopping {
                if tokio::time::timeout(STOP, stop).await.is_err() {
                    warn!("the assistant's planned stop does not end; its lifeline is closed");
                }
                let _ = tokio::time::timeout(LAST_EVENTS, events_over.wait_for(|over| *over)).await;
            }
            Input::ChildStopped
        });
    }
}

/// Waits for a child slot of the worker; asks for one when there is none.
async fn take_slot(
    slots: Arc<Semaphore>,
    parent: &Address<WorkerMsg>,
    session: SessionId,
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
    myself: Address<SessionMsg>,
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
async fn sample_memory(agent: Weak<dyn Agent>, table: ActorTable, key: ActorKey) {
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

pub(super) fn gone() -> AgentError {
    AgentError::Failed("the assistant is gone".to_owned())
}
