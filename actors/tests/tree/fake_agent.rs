//! An assistant whose store outlives its processes, with a lease per session, so that a successor waits until its
//! predecessor is gone. It answers when the test says so (`say`, `complete`), or plays a script by itself: two steps with
//! a tool in the first. The model counts how often each prompt was started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator_actors::domain::ids::{ConversationId, SessionId, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::turn::{StoredTurn, TurnError};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{
    Agent, AgentError, AgentEvent, Agents, Carried, ExitReport, OpenSpec, Opened, Prompt, Reply,
    RequestId, TurnEnd,
};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::fold::Part;
use crate::gate::{Gate, Point};
use crate::script::{Script, item, over, whole};

#[derive(Default)]
pub struct Shared {
    /// Turns delivered, and what has become of their answers.
    pub store: BTreeMap<String, Stored>,
    /// How often the model was asked.
    pub starts: BTreeMap<String, u32>,
    deliveries: BTreeMap<String, u32>,
    /// Where each turn was looked up last.
    lookups: BTreeMap<String, String>,
    alive: BTreeMap<String, Child>,
    leased: BTreeSet<String>,
    failing_boots: u32,
    /// So many of the next calls of this kind are never answered.
    mute: Option<(Call, u32)>,
}

/// What a session asks its assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Conversation,
    Lookup,
    Deliver,
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Unanswered,
    Begun,
    Complete(Vec<Part>),
    Aborted,
}

/// A running process.
struct Child {
    events: mpsc::Sender<AgentEvent>,
    /// What it plays, and of which turn.
    playing: Option<(String, AbortHandle)>,
}

#[derive(Clone, Default)]
pub struct FakeAgents {
    shared: Arc<Mutex<Shared>>,
    opened: Arc<AtomicU32>,
    changed: Arc<watch::Sender<u64>>,
    pub gate: Gate,
    pub script: Option<Script>,
    process: CancellationToken,
}

impl FakeAgents {
    pub fn new(gate: Gate, script: Option<Script>) -> Self {
        Self {
            gate,
            script,
            ..Self::default()
        }
    }

    /// The same machine with another supervisor on it.
    pub fn for_process(&self, process: CancellationToken) -> Self {
        Self {
            process,
            ..self.clone()
        }
    }

    pub fn deliveries(&self, turn: &str) -> u32 {
        self.read(|shared| shared.deliveries.get(turn).copied().unwrap_or(0))
    }

    /// How often the model was asked for an answer to this prompt.
    pub fn starts(&self, turn: &str) -> u32 {
        self.read(|shared| shared.starts.get(turn).copied().unwrap_or(0))
    }

    /// How often a process was started.
    pub fn boots(&self) -> u32 {
        self.opened.load(Ordering::Relaxed)
    }

    /// In which conversation the turn was looked up last.
    pub fn looked_up_in(&self, turn: &str) -> Option<String> {
        self.read(|shared| shared.lookups.get(turn).cloned())
    }

    pub fn alive(&self) -> usize {
        self.read(|shared| shared.alive.len())
    }

    pub fn leases(&self) -> usize {
        self.read(|shared| shared.leased.len())
    }

    /// So many of the next boots do not succeed.
    pub fn fail_boots(&self, boots: u32) {
        self.write(|shared| shared.failing_boots = boots);
    }

    /// So many of the next calls of this kind are never answered.
    pub fn mute(&self, call: Call, times: u32) {
        self.write(|shared| shared.mute = Some((call, times)));
    }

    fn is_mute(&self, call: Call) -> bool {
        self.write(|shared| match &mut shared.mute {
            Some((mute, times)) if *mute == call && *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        })
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !holds(self) {
                changed.changed().await.expect("the agents live");
            }
        };
        tokio::time::timeout(Duration::from_mins(10), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub async fn say(&self, session: &str, turn: &str, text: &str) {
        self.write(|shared| shared.store.insert(turn.to_owned(), Stored::Begun));
        self.emit(session, item(turn, "p", ItemKind::Text, text))
            .await;
    }

    pub async fn complete(&self, session: &str, turn: &str, text: &str) {
        let part = Part {
            id: "p".to_owned(),
            kind: ItemKind::Text,
            text: text.to_owned(),
        };
        let stored = Stored::Complete(vec![part]);
        self.write(|shared| shared.store.insert(turn.to_owned(), stored));
        let ended = TurnEnd::Complete { usage: None };
        self.emit(session, over(turn, ended)).await;
    }

    /// The same with this text.
    pub fn answered_silently_with(&self, turn: &str, text: &str) {
        let part = Part {
            id: "p".to_owned(),
            kind: ItemKind::Text,
            text: text.to_owned(),
        };
        let stored = Stored::Complete(vec![part]);
        self.write(|shared| shared.store.insert(turn.to_owned(), stored));
    }

    /// What a turn's store says from now on, without an event.
    pub fn answered_silently(&self, turn: &str) {
        self.write(|shared| {
            shared
                .store
                .insert(turn.to_owned(), Stored::Complete(whole(turn)))
        });
    }

    /// `kill -9` of the session's process. Whether there was one.
    pub async fn kill(&self, session: &str) -> bool {
        let child = self.write(|shared| shared.alive.remove(session));
        let Some(child) = child else { return false };
        child.stop_playing();
        let report = ExitReport {
            signal: Some(9),
            ..ExitReport::default()
        };
        let _ = child.events.send(AgentEvent::Exited { report }).await;
        true
    }

    /// The supervisor is gone: the wardens end everything that it had started.
    pub fn end_all(&self) {
        self.write(|shared| {
            for (_, child) in std::mem::take(&mut shared.alive) {
                child.stop_playing();
            }
            shared.leased.clear();
        });
    }

    pub async fn emit(&self, session: &str, event: AgentEvent) {
        let events = self.read(|shared| {
            let child = shared.alive.get(session).expect("a live agent");
            child.events.clone()
        });
        events.send(event).await.expect("a listening session");
    }

    fn read<T>(&self, read: impl FnOnce(&Shared) -> T) -> T {
        read(&self.shared.lock().unwrap())
    }

    pub fn write<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        let result = change(&mut self.shared.lock().unwrap());
        self.changed.send_modify(|version| *version += 1);
        result
    }
}

impl Child {
    fn stop_playing(&self) {
        if let Some((_, playing)) = &self.playing {
            playing.abort();
        }
    }
}

impl Agents for FakeAgents {
    fn open(&self, spec: OpenSpec) -> Pending<Result<Opened, AgentError>> {
        let this = self.clone();
        Box::pin(async move {
            let session = spec.session.to_string();
            let mut changed = this.changed.subscribe();
            loop {
                if this.process.is_cancelled() {
                    return std::future::pending().await;
                }
                if this.shared.lock().unwrap().leased.insert(session.clone()) {
                    break;
                }
                let _ = changed.changed().await;
            }
            // From here on the child's fate is the guard's, also when this future is dropped.
            let agent = FakeAgent {
                pid: this.opened.fetch_add(1, Ordering::Relaxed) + 1,
                agents: this.clone(),
                session: spec.session,
            };
            this.gate.pass(Point::BeforeClaim).await;
            this.pause().await;
            let fails = this.write(|shared| {
                let fails = shared.failing_boots > 0;
                shared.failing_boots = shared.failing_boots.saturating_sub(1);
                fails
            });
            if fails {
                return Err(AgentError::Boot("no port line".to_owned()));
            }
            let (events, receiver) = mpsc::channel(16);
            let child = Child {
                events,
                playing: None,
            };
            this.write(|shared| shared.alive.insert(session, child));
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
        // A dead process's guard frees nothing: its wardens have, and somebody else may hold it now.
        if self.agents.process.is_cancelled() {
            return;
        }
        self.agents.write(|shared| {
            if let Some(child) = shared.alive.remove(self.session.as_str()) {
                child.stop_playing();
            }
            shared.leased.remove(self.session.as_str());
        });
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
        let agents = self.agents.clone();
        Box::pin(async move {
            if agents.is_mute(Call::Conversation) {
                return std::future::pending().await;
            }
            agents.gate.pass(Point::AfterClaim).await;
            agents.pause().await;
            Ok(known.unwrap_or(made))
        })
    }

    fn lookup(
        &self,
        conversation: ConversationId,
        turn: TurnId,
    ) -> Pending<Result<StoredTurn, AgentError>> {
        let stored = self.agents.write(|shared| {
            let turn = turn.to_string();
            let stored = shared.store.get(&turn).cloned();
            shared.lookups.insert(turn, conversation.to_string());
            stored
        });
        let is_mute = self.agents.is_mute(Call::Lookup);
        Box::pin(async move {
            if is_mute {
                return std::future::pending().await;
            }
            Ok(match stored {
                None => StoredTurn::Absent,
                Some(Stored::Unanswered) => StoredTurn::Unanswered,
                Some(Stored::Begun) => StoredTurn::Begun,
                Some(Stored::Complete(parts)) => StoredTurn::Complete {
                    parts: parts.into_iter().flat_map(recovered).collect(),
                    usage: None,
                },
                Some(Stored::Aborted) => StoredTurn::Failed {
                    parts: Vec::new(),
                    error: TurnError::new("aborted", "aborted"),
                    aborted: true,
                    usage: None,
                },
            })
        })
    }

    fn deliver(&self, prompt: Prompt, _: Vec<Carried>) -> Pending<Result<(), AgentError>> {
        // It takes the prompt and says nothing: whether it has it is found out later.
        let is_mute = self.agents.is_mute(Call::Deliver);
        let turn = prompt.turn.to_string();
        let session = self.session.to_string();
        let agents = self.agents.clone();
        self.agents.write(|shared| {
            *shared.deliveries.entry(turn.clone()).or_default() += 1;
            let Some(child) = shared.alive.get_mut(&session) else {
                return;
            };
            shared.store.insert(turn.clone(), Stored::Unanswered);
            if agents.script.is_some() {
                let play = agents.clone().play(child.events.clone(), turn.clone());
                child.playing = Some((turn, tokio::spawn(play).abort_handle()));
            }
        });
        Box::pin(async move {
            if is_mute {
                return std::future::pending().await;
            }
            Ok(())
        })
    }

    fn abort(&self, _: ConversationId) -> Pending<Result<(), AgentError>> {
        let stopped = self.agents.write(|shared| {
            let child = shared.alive.get_mut(self.session.as_str())?;
            let (turn, playing) = child.playing.take()?;
            // An answer that is complete stays so; its last event comes.
            if matches!(shared.store.get(&turn), Some(Stored::Complete(_))) {
                child.playing = Some((turn, playing));
                return None;
            }
            playing.abort();
            shared.store.insert(turn.clone(), Stored::Aborted);
            Some((turn, child.events.clone()))
        });
        Box::pin(async move {
            if let Some((turn, events)) = stopped {
                let ended = TurnEnd::Aborted { usage: None };
                let _ = events.send(over(&turn, ended)).await;
            }
            Ok(())
        })
    }

    fn reply(&self, _: RequestId, _: Reply) -> Pending<Result<(), AgentError>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> Pending<()> {
        if self.agents.is_mute(Call::Stop) {
            return Box::pin(std::future::pending());
        }
        let child = self
            .agents
            .write(|shared| shared.alive.remove(self.session.as_str()));
        Box::pin(async move {
            if let Some(child) = &child {
                child.stop_playing();
            }
            // A real one is asked first, and takes its time.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Some(child) = child {
                let report = ExitReport::default();
                let _ = child.events.send(AgentEvent::Exited { report }).await;
            }
        })
    }
}

/// A part as the store gives it back: everything streamed under it is void.
fn recovered(part: Part) -> [Draft; 2] {
    let draft = |kind, content| Draft {
        part_id: part.id.clone(),
        kind,
        content,
    };
    [
        draft(ItemKind::Reset, String::new()),
        draft(part.kind, part.text.clone()),
    ]
}
