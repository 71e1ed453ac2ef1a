//! An assistant that answers when the test says so, with a store that outlives its processes and a lease per
//! session, so that a successor waits until its predecessor is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::ids::{ConversationId, SessionId, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::turn::StoredTurn;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{
    Agent, AgentError, AgentEvent, Agents, ExitReport, OpenSpec, Opened, Prompt, RequestId, TurnEnd,
};
use tokio::sync::mpsc;

#[derive(Default)]
struct Shared {
    /// The store: turns delivered, and whether an answer has begun or is complete.
    store: BTreeMap<String, StoredTurn>,
    deliveries: BTreeMap<String, u32>,
    alive: BTreeMap<String, mpsc::Sender<AgentEvent>>,
    leased: BTreeSet<String>,
}

#[derive(Clone, Default)]
pub struct FakeAgents {
    shared: Arc<Mutex<Shared>>,
    opened: Arc<AtomicU32>,
    released: Arc<tokio::sync::Notify>,
}

impl FakeAgents {
    pub fn deliveries(&self, turn: &str) -> u32 {
        self.shared
            .lock()
            .unwrap()
            .deliveries
            .get(turn)
            .copied()
            .unwrap_or(0)
    }

    pub fn alive(&self) -> usize {
        self.shared.lock().unwrap().alive.len()
    }

    pub async fn say(&self, session: &str, turn: &str, text: &str) {
        self.shared
            .lock()
            .unwrap()
            .store
            .insert(turn.to_owned(), StoredTurn::Begun);
        let draft = Draft {
            part_id: "p".to_owned(),
            kind: ItemKind::Text,
            content: text.to_owned(),
        };
        self.emit(
            session,
            AgentEvent::Item {
                turn: turn.into(),
                draft,
            },
        )
        .await;
    }

    pub async fn complete(&self, session: &str, turn: &str, text: &str) {
        let parts = vec![Draft {
            part_id: "p".to_owned(),
            kind: ItemKind::Text,
            content: text.to_owned(),
        }];
        self.shared
            .lock()
            .unwrap()
            .store
            .insert(turn.to_owned(), StoredTurn::Complete { parts, usage: None });
        self.emit(
            session,
            AgentEvent::TurnEnded {
                turn: turn.into(),
                ended: TurnEnd::Complete { usage: None },
            },
        )
        .await;
    }

    pub async fn kill(&self, session: &str) {
        let sender = self.shared.lock().unwrap().alive.remove(session);
        if let Some(sender) = sender {
            let report = ExitReport {
                signal: Some(9),
                ..ExitReport::default()
            };
            let _ = sender.send(AgentEvent::Exited { report }).await;
        }
    }

    async fn emit(&self, session: &str, event: AgentEvent) {
        let sender = self.shared.lock().unwrap().alive.get(session).cloned();
        sender
            .expect("a live agent")
            .send(event)
            .await
            .expect("a listening session");
    }
}

impl Agents for FakeAgents {
    fn open(&self, spec: OpenSpec) -> Pending<Result<Opened, AgentError>> {
        let this = self.clone();
        Box::pin(async move {
            let session = spec.session.to_string();
            loop {
                let released = this.released.notified();
                if this.shared.lock().unwrap().leased.insert(session.clone()) {
                    break;
                }
                released.await;
            }
            let (events, receiver) = mpsc::channel(16);
            this.shared.lock().unwrap().alive.insert(session, events);
            let pid = this.opened.fetch_add(1, Ordering::Relaxed) + 1;
            let agent = FakeAgent {
                agents: this.clone(),
                session: spec.session,
                pid,
            };
            Ok(Opened {
                agent: Box::new(agent),
                events: receiver,
            })
        })
    }
}

struct FakeAgent {
    agents: FakeAgents,
    session: SessionId,
    pid: u32,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        let mut shared = self.agents.shared.lock().unwrap();
        shared.alive.remove(self.session.as_str());
        shared.leased.remove(self.session.as_str());
        self.agents.released.notify_waiters();
    }
}

impl Agent for FakeAgent {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn rss_bytes(&self) -> u64 {
        1
    }

    fn conversation(
        &self,
        known: Option<ConversationId>,
        _: String,
    ) -> Pending<Result<ConversationId, AgentError>> {
        let made = ConversationId::new(format!("ses_{}", self.session));
        Box::pin(async move { Ok(known.unwrap_or(made)) })
    }

    fn lookup(&self, _: ConversationId, turn: TurnId) -> Pending<Result<StoredTurn, AgentError>> {
        let stored = self
            .agents
            .shared
            .lock()
            .unwrap()
            .store
            .get(turn.as_str())
            .cloned();
        Box::pin(async move { Ok(stored.unwrap_or(StoredTurn::Absent)) })
    }

    fn deliver(&self, prompt: Prompt) -> Pending<Result<(), AgentError>> {
        let mut shared = self.agents.shared.lock().unwrap();
        *shared
            .deliveries
            .entry(prompt.turn.to_string())
            .or_default() += 1;
        shared
            .store
            .insert(prompt.turn.to_string(), StoredTurn::Unanswered);
        Box::pin(async { Ok(()) })
    }

    fn abort(&self, _: ConversationId) -> Pending<Result<(), AgentError>> {
        Box::pin(async { Ok(()) })
    }

    fn reject(&self, _: RequestId, _: String) -> Pending<Result<(), AgentError>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> Pending<()> {
        let sender = self
            .agents
            .shared
            .lock()
            .unwrap()
            .alive
            .remove(self.session.as_str());
        Box::pin(async move {
            // A real one is asked first, and takes its time.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if let Some(sender) = sender {
                let _ = sender
                    .send(AgentEvent::Exited {
                        report: ExitReport::default(),
                    })
                    .await;
            }
        })
    }
}
