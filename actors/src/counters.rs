//! What has happened since the start, in numbers that only grow: what a graph of a supervisor's life is drawn from. Shared by all
//! actors, beside their table; reading it asks nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::domain::turn::Outcome;
use crate::table::ActorKind;

#[derive(Debug, Default)]
pub struct Counters {
    turns: [AtomicU64; 4],
    crashes: [AtomicU64; 6],
    assistants: AtomicU64,
    tasks: [AtomicU64; 3],
    /// Of the runs of tasks: what the model read, what it wrote.
    task_tokens: [AtomicU64; 2],
}

/// What an attempt at a task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskOutcome {
    Done,
    Failed,
    /// It does not count.
    Returned,
}

const TASK_OUTCOMES: [TaskOutcome; 3] = [
    TaskOutcome::Done,
    TaskOutcome::Failed,
    TaskOutcome::Returned,
];

const OUTCOMES: [Outcome; 4] = [
    Outcome::Complete,
    Outcome::Interrupted,
    Outcome::Failed,
    Outcome::Aborted,
];
const KINDS: [ActorKind; 6] = [
    ActorKind::Machine,
    ActorKind::Deployment,
    ActorKind::Bridge,
    ActorKind::Worker,
    ActorKind::Session,
    ActorKind::Task,
];

impl Counters {
    /// A turn was closed by a session of ours.
    pub fn turn(&self, outcome: Outcome) {
        add(&OUTCOMES, &self.turns, outcome);
    }

    /// An actor has to be replaced.
    pub fn crash(&self, kind: ActorKind) {
        add(&KINDS, &self.crashes, kind);
    }

    /// An attempt at a task is over. `tokens`: read and written by the model.
    pub fn task(&self, outcome: TaskOutcome, tokens: (u64, u64)) {
        add(&TASK_OUTCOMES, &self.tasks, outcome);
        self.task_tokens[0].fetch_add(tokens.0, Ordering::Relaxed);
        self.task_tokens[1].fetch_add(tokens.1, Ordering::Relaxed);
    }

    pub fn tasks(&self) -> impl Iterator<Item = (TaskOutcome, u64)> {
        read(&TASK_OUTCOMES, &self.tasks)
    }

    /// What the model read, and what it wrote.
    pub fn task_tokens(&self) -> (u64, u64) {
        let [input, output] = &self.task_tokens;
        (
            input.load(Ordering::Relaxed),
            output.load(Ordering::Relaxed),
        )
    }

    /// An assistant was started.
    pub fn assistant(&self) {
        self.assistants.fetch_add(1, Ordering::Relaxed);
    }

    pub fn turns(&self) -> impl Iterator<Item = (Outcome, u64)> {
        read(&OUTCOMES, &self.turns)
    }

    pub fn crashes(&self) -> impl Iterator<Item = (ActorKind, u64)> {
        read(&KINDS, &self.crashes)
    }

    pub fn assistants(&self) -> u64 {
        self.assistants.load(Ordering::Relaxed)
    }
}

fn add<K: PartialEq>(keys: &[K], counts: &[AtomicU64], key: K) {
    if let Some(at) = keys.iter().position(|one| *one == key) {
        counts[at].fetch_add(1, Ordering::Relaxed);
    }
}

fn read<K: Copy>(keys: &[K], counts: &[AtomicU64]) -> impl Iterator<Item = (K, u64)> {
    let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
    keys.iter().copied().zip(counts)
}
