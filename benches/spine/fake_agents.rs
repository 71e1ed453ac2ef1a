//! An assistant without a process: it says one thing to every prompt and remembers when it was asked to start. For what
//! is measured inside the tree alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::domain::ids::{ConversationId, SessionId, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::turn::StoredTurn;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{
    Agent, AgentError, AgentEvent, Agents, Carried, ExitReport, OpenSpec, Opened, Prompt, Reply,
    RequestId,
};
use tokio::sync::{Notify, mpsc};

use crate::common::stamps::now_ns;

#[derive(Clone, Default)]
pub struct FakeAgents(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// By session, when each of its starts was asked for.
    opened: Mutex<BTreeMap<String, Vec<u64>>>,
    changed: Notify,
    /// The store: it outlives the assistants.
    delivered: Mutex<BTreeSet<TurnId>>,
}

impl FakeAgents {
    /// Waits for a session's `nth` start (from 0); gives its time on the monotonic clock.
    pub async fn opened_at_ns(&self, session: &str, nth: usize) -> u64 {
        loop {
            let changed = self.0.changed.notified();
            if let Some(at) = self.opened().get(session).and_then(|times| times.get(nth)) {
                return *at;
            }
            changed.await;
        }
    }

    fn delivered(&self) -> std::sync::MutexGuard<'_, BTreeSet<TurnId>> {
        let delivered = self.0.delivered.lock();
        delivered.unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u64>>> {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agents for FakeAgents {
    fn open(&self, spec: OpenSpec) -> Pending<Result<Opened, AgentError>> {
        let session = spec.session.to_string();
        self.opened().entry(session).or_default().push(now_ns());
        self.0.changed.notify_waiters();
        let (to, events) = mpsc::channel(16);
        let agent = Box::new(FakeAgent {
            session: spec.session,
            to,
            agents: self.clone(),
        });
        Box::pin(async move { Ok(Opened { agent, events }) })
    }
}

struct FakeAgent {
    session: SessionId,
    to: mpsc::Sender<AgentEvent>,
    agents: FakeAgents,
}

impl Agent for FakeAgent {
    fn pid(&self) -> u32 {
        0
    }

    fn rss_bytes(&self) -> u64 {
        0
    }

    fn conversation(
        &self,
        known: Option<ConversationId>,
        _: String,
    ) -> Pending<Result<ConversationId, AgentError>> {
        let made = ConversationId::new(format!("ses_{}", self.session));
        Box::pin(async move { Ok(known.unwrap_or(made)) })
    }

    /// A successor finds that an answer has begun: the turn is interrupted, nothing is asked again.
    fn lookup(&self, _: ConversationId, turn: TurnId) -> Pending<Result<StoredTurn, AgentError>> {
        let stored = if self.agents.delivered().contains(&turn) {
            StoredTurn::Begun
        } else {
            StoredTurn::Absent
        };
        Box::pin(async move { Ok(stored) })
    }

    fn deliver(&self, prompt: Prompt, _: Vec<Carried>) -> Pending<Result<(), AgentError>> {
        self.agents.delivered().insert(prompt.turn.clone());
        let to = self.to.clone();
        Box::pin(async move {
            let draft = Draft {
                part_id: "p".to_owned(),
                kind: ItemKind::Text,
                content: "hello".to_owned(),
            };
            let turn = prompt.turn;
            let _ = to.send(AgentEvent::Item { turn, draft }).await;
            Ok(())
        })
    }

    fn abort(&self, _: ConversationId) -> Pending<Result<(), AgentError>> {
        Box::pin(async { Ok(()) })
    }

    fn reply(&self, _: RequestId, _: Reply) -> Pending<Result<(), AgentError>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> Pending<()> {
        let to = self.to.clone();
        Box::pin(async move {
            let report = ExitReport::default();
            let _ = to.send(AgentEvent::Exited { report }).await;
        })
    }
}
