//! The actor table: what `ps` reads. Every actor keeps one card in it and takes it away by a guard, so reading
//! it sends no message and works while an actor is stuck. In memory only; a restart rebuilds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::domain::ledger::Verdict;
use crate::supervision::Gauge;

pub use crate::domain::phase::Phase;

/// Which actor. Its text form (`worker/xyz789`, `session/…`) is what `restart` and `ps --json` use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ActorKey(String);

impl ActorKey {
    pub fn machine() -> Self {
        Self("machine".to_owned())
    }

    pub fn deployment() -> Self {
        Self("deployment".to_owned())
    }

    pub fn bridge(url: &crate::domain::ids::DeploymentUrl) -> Self {
        Self(format!("bridge/{url}"))
    }

    pub fn worker(id: &crate::domain::ids::WorkerId) -> Self {
        Self(format!("worker/{id}"))
    }

    pub fn session(id: &crate::domain::ids::SessionId) -> Self {
        Self(format!("session/{id}"))
    }

    pub fn role(
        worker: &crate::domain::ids::WorkerId,
        part: &crate::domain::command::Part,
    ) -> Self {
        Self(format!("role/{worker}/{part}"))
    }

    pub fn tasks(worker: &crate::domain::ids::WorkerId) -> Self {
        Self(format!("task/{worker}"))
    }

    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ActorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    Machine,
    Deployment,
    Bridge,
    Worker,
    Session,
    /// An assistant that was started from afar.
    Role,
    /// A directory's task queue.
    Task,
}

/// The task that a queue has in hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskCard {
    pub id: String,
    /// Its first line.
    pub title: String,
    pub attempt: u32,
    /// How far it has come.
    pub step: &'static str,
    /// By the clock of [`ActorCard::since_ms`].
    pub began_ms: u64,
    pub branch: Option<String>,
    /// Of the assistant's run, so far.
    pub turns: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct ActorCard {
    pub key: ActorKey,
    pub parent: Option<ActorKey>,
    pub kind: ActorKind,
    /// What people call it: worker name, session title, URL.
    pub name: String,
    pub phase: Phase,
    /// One line for people: directory, model, reason.
    pub detail: String,
    /// How often this actor was replaced after a crash, its own or its child's.
    pub restarts: u32,
    pub incarnation: u64,
    /// By the clock that runs on while the machine sleeps and never jumps (BOOTTIME), in milliseconds.
    pub since_ms: u64,
    pub last_error: Option<String>,
    pub agent_pid: Option<u32>,
    pub agent_rss_bytes: Option<u64>,
    pub turn: Option<String>,
    /// Items pushed in the running turn.
    pub chunks: u64,
    /// Turns served by this incarnation; of a task queue, tasks.
    pub turns: u64,
    /// Of a task queue.
    pub task: Option<Box<TaskCard>>,
    /// Of a worker.
    pub directory: Option<String>,
    /// Of a worker: live children at once.
    pub max_sessions: Option<usize>,
    /// Of a worker.
    pub deployment: Option<String>,
    /// Of a worker: the machine that its token names.
    #[serde(skip)]
    pub machine: Option<String>,
    /// Of its mailbox and handler, live. An actor that is between two lives has an empty one.
    #[serde(skip)]
    pub gauge: Gauge,
}

impl ActorCard {
    pub fn new(
        key: ActorKey,
        parent: Option<ActorKey>,
        kind: ActorKind,
        name: impl Into<String>,
    ) -> Self {
        Self {
            key,
            parent,
            kind,
            name: name.into(),
            phase: Phase::Starting,
            detail: String::new(),
            restarts: 0,
            incarnation: 0,
            since_ms: 0,
            last_error: None,
            agent_pid: None,
            agent_rss_bytes: None,
            turn: None,
            chunks: 0,
            turns: 0,
            task: None,
            directory: None,
            max_sessions: None,
            deployment: None,
            machine: None,
            gauge: Gauge::default(),
        }
    }

    /// The card of an actor that has crashed: what `ps` shows until a successor puts its own there.
    #[must_use]
    pub fn fallen(mut self, verdict: Verdict, restarts: u32, error: String, now_ms: u64) -> Self {
        self.phase = match verdict {
            Verdict::Park => Phase::Parked,
            Verdict::Restart { .. } => Phase::Restarting,
        };
        self.restarts = restarts;
        self.last_error = Some(error);
        self.since_ms = now_ms;
        self
    }
}

/// The most messages that any mailbox ever held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LargestMailbox {
    pub messages: usize,
    pub actor: Option<ActorKey>,
}

impl LargestMailbox {
    fn see(&mut self, card: &ActorCard) {
        let messages = card.gauge.read().largest;
        if messages > self.messages {
            self.messages = messages;
            self.actor = Some(card.key.clone());
        }
    }
}

/// Shared by all actors of one process.
#[derive(Clone, Debug, Default)]
pub struct ActorTable {
    cards: Arc<Mutex<BTreeMap<ActorKey, ActorCard>>>,
    changed: Arc<watch::Sender<()>>,
    /// Rounds of the heartbeat that found the root well.
    beats: Arc<watch::Sender<u64>>,
    counters: Arc<Counters>,
    /// Of actors that are gone.
    largest: Arc<Mutex<LargestMailbox>>,
    #[cfg(debug_assertions)]
    pub start_faults: crate::supervision::fault::StartFaults,
}

impl ActorTable {
    /// All cards, in the order of their keys.
    pub fn snapshot(&self) -> Vec<ActorCard> {
        self.lock().values().cloned().collect()
    }

    pub fn get(&self, key: &ActorKey) -> Option<ActorCard> {
        self.lock().get(key).cloned()
    }

    /// Wakes whoever waits for a change of any card.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Changes as long as the root of the tree is alive and not stuck.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.beats.subscribe()
    }

    pub(crate) fn beat(&self) {
        self.beats.send_modify(|beats| *beats += 1);
    }

    /// Of all actors since the start, those that are gone too.
    pub fn largest_mailbox(&self) -> LargestMailbox {
        let mut largest = self.gone().clone();
        for card in self.lock().values() {
            largest.see(card);
        }
        largest
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Puts down the card of an actor that has crashed.
    pub fn put_fallen(&self, card: ActorCard) {
        self.counters.crash(card.kind);
        self.put(card);
    }

    /// Puts a card down, or replaces the one under its key.
    pub fn put(&self, card: ActorCard) {
        let before = self.lock().insert(card.key.clone(), card);
        self.let_go(before);
        self.changed.send_replace(());
    }

    /// Changes a card that is there.
    pub fn change(&self, key: &ActorKey, change: impl FnOnce(&mut ActorCard)) {
        if let Some(card) = self.lock().get_mut(key) {
            change(card);
        }
        self.changed.send_replace(());
    }

    pub fn remove(&self, key: &ActorKey) {
        let before = self.lock().remove(key);
        self.let_go(before);
        self.changed.send_replace(());
    }

    /// Removes a card that this incarnation has put there; a successor's stays.
    pub fn remove_incarnation(&self, key: &ActorKey, incarnation: u64) {
        let mut cards = self.lock();
        let is_its_own = cards
            .get(key)
            .is_some_and(|card| card.incarnation == incarnation);
        let before = is_its_own.then(|| cards.remove(key)).flatten();
        drop(cards);
        if before.is_some() {
            self.let_go(before);
            self.changed.send_replace(());
        }
    }

    fn let_go(&self, card: Option<ActorCard>) {
        if let Some(card) = card {
            self.gone().see(&card);
        }
    }

    fn gone(&self) -> std::sync::MutexGuard<'_, LargestMailbox> {
        self.largest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ActorKey, ActorCard>> {
        // A panic while a card was changed leaves at worst that card half changed: still worth showing.
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an actor's card away when the actor's state is dropped, unless a successor has put its own there.
#[derive(Debug)]
pub struct CardGuard {
    table: ActorTable,
    key: ActorKey,
    incarnation: u64,
}

impl CardGuard {
    pub fn new(table: ActorTable, key: ActorKey, incarnation: u64) -> Self {
        Self {
            table,
            key,
            incarnation,
        }
    }
}

impl Drop for CardGuard {
    fn drop(&mut self) {
        self.table.remove_incarnation(&self.key, self.incarnation);
    }
}
