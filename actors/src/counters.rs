//! What has happened since the start, in numbers that only grow: what a graph of a supervisor's life is drawn from. Shared by all
//! actors, beside their table; reading it asks nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::turn::Outcome;
use crate::table::ActorKind;

#[derive(Debug, Default)]
pub struct Counters {
    turns: [AtomicU64; 4],
    crashes: [AtomicU64; 5],
    assistants: AtomicU64,
}

const OUTCOMES: [Outcome; 4] = [
    Outcome::Complete,
    Outcome::Interrupted,
    Outcome::Failed,
    Outcome::Aborted,
];
const KINDS: [ActorKind; 5] = [
    ActorKind::Machine,
    ActorKind::Deployment,
    ActorKind::Bridge,
    ActorKind::Worker,
    ActorKind::Session,
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
