//! What `ps` sees of a task queue: each word of the loop is written into the card at once, by the loop's own task.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::counters::TaskOutcome;
use crate::domain::phase::Phase;
use crate::ports::clock::Clock;
use crate::ports::tasks::TurnCount;
use crate::table::{ActorCard, ActorKey, ActorTable, TaskCard};
use crate::tasks::Progress;

/// How often the turns of a run are looked at.
const TURNS: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Shown {
    pub table: ActorTable,
    pub key: ActorKey,
    pub incarnation: u64,
    pub clock: Arc<dyn Clock>,
    pub turns: Arc<Mutex<TurnCount>>,
}

impl Shown {
    pub fn hear(&self, progress: &Progress) {
        match progress {
            Progress::Began {
                task,
                title,
                attempt,
            } => self.begin(task.as_str(), title, *attempt, "pulled"),
            Progress::Resumed {
                task,
                title,
                attempt,
                phase,
            } => self.begin(task.as_str(), title, *attempt, phase),
            Progress::Waits { why, .. } => self.stand(Phase::Waiting, why),
            Progress::Phase { phase, .. } => self.step(phase),
            Progress::Asked { turns, .. } => {
                *self.turns.lock().unwrap_or_else(PoisonError::into_inner) = turns.clone();
            }
            Progress::Done { metrics, .. } => {
                let run = metrics.run.as_ref();
                let tokens = run.map_or((0, 0), |run| (run.input_tokens, run.output_tokens));
                self.table.counters().task(TaskOutcome::Done, tokens);
                self.rest();
            }
            Progress::Failed { metrics, .. } => {
                let run = metrics.run.as_ref();
                let tokens = run.map_or((0, 0), |run| (run.input_tokens, run.output_tokens));
                self.table.counters().task(TaskOutcome::Failed, tokens);
                self.rest();
            }
            Progress::Returned { .. } => {
                self.table.counters().task(TaskOutcome::Returned, (0, 0));
                self.rest();
            }
            Progress::Branched { branch, .. } => self.change(|card| {
                if let Some(task) = &mut card.task {
                    task.branch = Some(branch.to_string());
                }
            }),
            Progress::Again { .. } | Progress::InDoubt { .. } | Progress::NotCleaned { .. } => {}
        }
    }

    fn begin(&self, id: &str, title: &str, attempt: u32, phase: &'static str) {
        let now = self.clock.boottime_ms();
        *self.turns.lock().unwrap_or_else(PoisonError::into_inner) = TurnCount::default();
        self.change(|card| {
            card.task = Some(Box::new(TaskCard {
                id: id.to_owned(),
                title: title.to_owned(),
                attempt,
                step: phase,
                began_ms: now,
                branch: None,
                turns: 0,
            }));
            card.phase = Phase::Active;
            card.since_ms = now;
            card.detail.clear();
        });
    }

    fn step(&self, phase: &'static str) {
        let now = self.clock.boottime_ms();
        self.change(|card| {
            if let Some(task) = &mut card.task {
                task.step = phase;
            }
            card.phase = Phase::Active;
            card.since_ms = now;
            card.detail.clear();
        });
    }

    /// Between two tasks.
    fn rest(&self) {
        let now = self.clock.boottime_ms();
        self.change(|card| {
            card.task = None;
            card.phase = Phase::Ready;
            card.since_ms = now;
            card.turns += 1;
            card.detail.clear();
        });
    }

    pub fn stand(&self, phase: Phase, why: &str) {
        let now = self.clock.boottime_ms();
        self.change(|card| {
            if card.phase != phase {
                card.since_ms = now;
            }
            card.phase = phase;
            card.detail.clear();
            card.detail.push_str(why);
        });
    }

    pub fn stopping(&self) {
        self.change(|card| card.phase = Phase::Stopping);
    }

    /// Keeps the number of turns in the card fresh.
    pub async fn count_turns(self) {
        let mut interval = tokio::time::interval(TURNS);
        loop {
            interval.tick().await;
            let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let turns = turns.get();
            let card = self.table.get(&self.key);
            let shown = card.and_then(|card| card.task.map(|task| task.turns));
            if shown.is_some_and(|shown| shown != turns) {
                self.change(|card| {
                    if let Some(task) = &mut card.task {
                        task.turns = turns;
                    }
                });
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut ActorCard)) {
        self.table.change(&self.key, |card| {
            if card.incarnation == self.incarnation {
                change(card);
            }
        });
    }
}
