//! A world of its own for each test: folders, a scripted model, a factory of OpenCodes. Conditions are waited for
//! with a deadline; nothing sleeps for a fixed time and hopes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orchestrator::adapters::opencode::{HermeticSettings, OpenCodeAgents, OpenCodeConfig};
use orchestrator::adapters::process::companion::Companion;
use orchestrator_actors::domain::ids::{ConversationId, SessionId, TurnId, WorkerDir, WorkerId};
use orchestrator_actors::domain::item::{Draft, ItemKind, ToolState};
use orchestrator_actors::ports::agent::{
    Agent, AgentError, AgentEvent, Agents, OpenSpec, Opened, Prompt, TurnEnd, Waiting,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// The most a test waits for anything; generous, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// OpenCodes are heavy: so many worlds at once.
static WORLDS: Semaphore = Semaphore::const_new(2);

pub fn orchestrator() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_orchestrator"))
}

/// The executable that all tests share, installed on first use.
pub async fn opencode() -> PathBuf {
    tokio::task::spawn_blocking(|| orchestrator_test_support::agents(&orchestrator()))
        .await
        .expect("the pinned OpenCode")
}

pub struct World {
    pub config: OpenCodeConfig,
    pub agents: OpenCodeAgents,
    model: Option<Companion>,
    pub model_url: String,
    pub folder: tempfile::TempDir,
    _slot: SemaphorePermit<'static>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// `change` adjusts the configuration before anything is started.
    pub async fn with(change: impl FnOnce(&mut OpenCodeConfig)) -> Self {
        let slot = WORLDS.acquire().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let model = Companion::start(&orchestrator(), &["__model"], PATIENCE)
            .await
            .unwrap();
        let model_url = orchestrator::model::url_in(model.first_line()).unwrap();
        let mut config = config(folder.path(), &model_url, opencode().await);
        change(&mut config);
        std::fs::create_dir_all(folder.path().join("work")).unwrap();
        let agents = OpenCodeAgents::new(config.clone()).unwrap();
        Self {
            config,
            agents,
            model: Some(model),
            model_url,
            folder,
            _slot: slot,
        }
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("work")
    }

    pub fn spec(&self, session: &str) -> OpenSpec {
        spec(&self.work(), session)
    }

    pub async fn open(&self, session: &str) -> Session {
        self.try_open(session).await.expect("an open agent")
    }

    pub async fn try_open(&self, session: &str) -> Result<Session, AgentError> {
        Session::of(self.agents.open(self.spec(session)).await?).await
    }

    pub async fn stats(&self) -> Value {
        let url = self.model_url.replace("/v1", "/stats");
        client()
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// How often the model was asked to start on a prompt that contains `part`.
    pub async fn starts(&self, part: &str) -> u64 {
        let stats = self.stats().await;
        let prompts = stats["prompts"].as_array().unwrap();
        prompts
            .iter()
            .filter(|prompt| prompt["text"].as_str().unwrap().contains(part))
            .map(|prompt| prompt["starts"].as_u64().unwrap())
            .sum()
    }

    /// Processes that carry this world's folder in their environment: OpenCode and every tool below it.
    pub fn left(&self) -> Vec<String> {
        processes_with(&self.folder.path().display().to_string())
    }

    /// The test's last word: nothing is left, the model ends with its stdin.
    pub async fn end(mut self) {
        eventually("no process is left", || self.left().is_empty()).await;
        self.model.take().unwrap().stop().await;
    }
}

pub fn config(folder: &Path, model_url: &str, binary: PathBuf) -> OpenCodeConfig {
    let mut config = OpenCodeConfig::new(
        binary,
        folder.join("data"),
        folder.join("run"),
        folder.join("state"),
    );
    config.warden = orchestrator();
    config.hermetic = Some(HermeticSettings::new(folder.join("home"), model_url));
    config.deadlines.listening = PATIENCE;
    config.deadlines.ready = PATIENCE;
    config
}

pub fn spec(work: &Path, session: &str) -> OpenSpec {
    OpenSpec {
        worker: WorkerId::new("worker1"),
        session: SessionId::new(session),
        directory: WorkerDir::canonical(work.to_owned()),
        incarnation: 1,
        waiting: Waiting::default(),
    }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// An open agent with its conversation.
pub struct Session {
    pub agent: Box<dyn Agent>,
    pub events: mpsc::Receiver<AgentEvent>,
    pub conversation: ConversationId,
}

impl Session {
    pub async fn of(opened: Opened) -> Result<Self, AgentError> {
        let conversation = opened.agent.conversation(None, "test".to_owned()).await?;
        Ok(Self {
            agent: opened.agent,
            events: opened.events,
            conversation,
        })
    }

    pub async fn deliver(&self, turn: &str, content: impl Into<String>) -> Result<(), AgentError> {
        self.agent
            .deliver(
                Prompt {
                    conversation: self.conversation.clone(),
                    turn: TurnId::new(turn),
                    content: content.into(),
                    model: None,
                    agent: None,
                    attachments: Vec::new(),
                },
                Vec::new(),
            )
            .await
    }

    pub async fn next(&mut self) -> Option<AgentEvent> {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
    }

    /// Everything of a turn until it ends.
    pub async fn finish(&mut self, turn: &str) -> Answer {
        let mut answer = Answer::default();
        loop {
            let event = self
                .next()
                .await
                .expect("the turn's end before the child's");
            if answer.take(event, turn) {
                return answer;
            }
        }
    }

    /// Reads until the streamed text contains `part`.
    pub async fn until_text(&mut self, answer: &mut Answer, turn: &str, part: &str) {
        while !answer.text().contains(part) {
            let event = self.next().await.expect("more text");
            assert!(
                !answer.take(event, turn),
                "the turn ended early: {answer:?}"
            );
        }
    }

    /// Reads until the child's end.
    pub async fn until_exit(&mut self, answer: &mut Answer, turn: &str) {
        while let Some(event) = self.next().await {
            answer.take(event, turn);
        }
        assert!(
            matches!(answer.events.last(), Some(AgentEvent::Exited { .. })),
            "{answer:?}"
        );
    }

    pub async fn ask(&mut self, turn: &str, content: impl Into<String>) -> Answer {
        self.deliver(turn, content).await.unwrap();
        self.finish(turn).await
    }
}

/// What a turn said.
#[derive(Debug, Default)]
pub struct Answer {
    pub events: Vec<AgentEvent>,
    pub end: Option<TurnEnd>,
}

impl Answer {
    /// The answer is whether the turn ended.
    pub fn take(&mut self, event: AgentEvent, turn: &str) -> bool {
        assert!(
            self.end.is_none() || !matches!(event, AgentEvent::Item { .. }),
            "an item after the end: {event:?}"
        );
        if let AgentEvent::TurnEnded { turn: of, ended } = &event {
            assert_eq!(of.as_str(), turn);
            self.end = Some(ended.clone());
        }
        self.events.push(event);
        self.end.is_some()
    }

    pub fn drafts(&self) -> Vec<Draft> {
        self.events
            .iter()
            .filter_map(|event| match event {
                AgentEvent::Item { draft, .. } => Some(draft.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn text(&self) -> String {
        folded(&self.drafts(), ItemKind::Text)
    }

    pub fn reasoning(&self) -> String {
        folded(&self.drafts(), ItemKind::Reasoning)
    }

    pub fn tools(&self) -> Vec<ToolState> {
        tools(&self.drafts())
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.end, Some(TurnEnd::Complete { .. }))
    }
}

fn fold(drafts: &[Draft]) -> Vec<(String, ItemKind, String)> {
    let mut parts: Vec<(String, ItemKind, String)> = Vec::new();
    for draft in drafts {
        let at = parts
            .iter()
            .position(|(id, ..)| *id == draft.part_id)
            .unwrap_or_else(|| {
                parts.push((draft.part_id.clone(), draft.kind, String::new()));
                parts.len() - 1
            });
        let part = &mut parts[at];
        match draft.kind {
            ItemKind::Reset => part.2.clear(),
            ItemKind::Tool => (part.1, part.2) = (draft.kind, draft.content.clone()),
            kind => {
                part.1 = kind;
                part.2.push_str(&draft.content);
            }
        }
    }
    parts
}

pub fn folded(drafts: &[Draft], kind: ItemKind) -> String {
    fold(drafts)
        .into_iter()
        .filter(|part| part.1 == kind)
        .map(|part| part.2)
        .collect()
}

pub fn tools(drafts: &[Draft]) -> Vec<ToolState> {
    fold(drafts)
        .into_iter()
        .filter(|part| part.1 == ItemKind::Tool)
        .map(|part| serde_json::from_str(&part.2).unwrap())
        .collect()
}

/// A prompt that is a script.
pub fn script(steps: Value) -> String {
    format!("SCRIPT:{}", json!({"steps": steps}))
}

/// Waits for a condition, up to [`PATIENCE`].
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// `pid command` of every live process whose environment contains `text`, except this one.
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if pid != std::process::id() && String::from_utf8_lossy(&environment).contains(text) {
            let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{pid} {}", command.replace('\0', " ")));
        }
    }
    found
}

pub fn kill_9(pid: u32) {
    send(pid, rustix::process::Signal::KILL);
}

pub fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The parent of a process.
pub fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
