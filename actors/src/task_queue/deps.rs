//! The loop's dependencies, as a worker's task queue has them: the deployment's queue, the machine's workshop, and the card
//! that hears of every step.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Gate;
use super::show::Shown;
use crate::domain::ids::TaskId;
use crate::domain::phase::Phase;
use crate::ports::Pending;
use crate::ports::clock::Clock;
use crate::ports::git::Git;
use crate::ports::tasks::{Blocked, Held, Queue, Runner, Task, TaskJournal, Wanted, Workshop};
use crate::supervision::Address;
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable};
use crate::tasks::{Admission, LooperDeps, Progress};
use crate::worker::{TaskNews, WorkerMsg};

/// How often a directory that somebody works in is tried.
const LOOK: Duration = Duration::from_millis(250);

/// A machine can have a limit of living assistants.
const NO_PLACE: &str = "waits for a place: as many assistants live on this machine as may at once";

#[derive(Clone)]
pub(super) struct Deps {
    pub gate: Gate,
    pub workshop: Workshop,
    pub clock: Arc<dyn Clock>,
    pub parent: Address<WorkerMsg>,
    pub worker: ActorKey,
    /// The worker's, for the log.
    pub name: String,
    pub shown: Shown,
}

impl LooperDeps for Deps {
    fn queue(&self) -> &dyn Queue {
        &self.gate
    }

    fn runner(&self) -> &dyn Runner {
        &*self.workshop.runner
    }

    fn git(&self) -> &dyn Git {
        &*self.workshop.git
    }

    fn journal(&self) -> &dyn TaskJournal {
        &*self.workshop.journal
    }

    fn directory(&self, wanted: Wanted) -> Pending<Result<Held, Blocked>> {
        let deps = self.clone();
        Box::pin(async move {
            let mut told = None;
            loop {
                if let Some(held) = deps.try_directory(&wanted).await? {
                    return Ok(held);
                }
                deps.waits_for_the_directory(&wanted.task, &mut told).await;
            }
        })
    }

    /// A place is not kept while somebody else works in the directory: others can use it meanwhile.
    fn admission(&self, task: &Task) -> Pending<Result<Admission, Blocked>> {
        let (deps, wanted) = (self.clone(), Wanted::for_an_attempt(&task.id));
        Box::pin(async move {
            let mut told = None;
            loop {
                let place = deps.a_place(&wanted.task, &mut told).await;
                if let Some(directory) = deps.try_directory(&wanted).await? {
                    return Ok(Admission { place, directory });
                }
                drop(place);
                deps.waits_for_the_directory(&wanted.task, &mut told).await;
            }
        })
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    fn sleep(&self, time: Duration) -> Pending<()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn log(&self, progress: Progress) {
        crate::tasks::tell(&progress, Some(&self.name));
        self.shown.hear(&progress);
    }
}

impl Deps {
    async fn try_directory(&self, wanted: &Wanted) -> Result<Option<Held>, Blocked> {
        let taken = self.workshop.directory.try_take(wanted.clone()).await;
        taken.map_err(Blocked::Directory)
    }

    async fn a_place(&self, task: &TaskId, told: &mut Option<String>) -> Held {
        let mut place = self.workshop.runner.place();
        tokio::select! {
            biased;
            place = &mut place => return place,
            () = tokio::time::sleep(LOOK) => {}
        }
        self.waits(task, told, NO_PLACE.to_owned());
        place.await
    }

    /// Whoever has nothing to do there is sent away; whoever has is waited for.
    async fn waits_for_the_directory(&self, task: &TaskId, told: &mut Option<String>) {
        let wanted = WorkerMsg::Tasks(TaskNews::DirectoryWanted);
        let _ = self.parent.cast(wanted);
        self.waits(task, told, who_is_there(&self.shown.table, &self.worker));
        tokio::time::sleep(LOOK).await;
    }

    fn waits(&self, task: &TaskId, told: &mut Option<String>, why: String) {
        if told.as_ref() != Some(&why) {
            *told = Some(why.clone());
            let task = task.clone();
            self.log(Progress::Waits { task, why });
        }
    }
}

/// Who of this worker is at work in the directory, in words for people.
fn who_is_there(table: &ActorTable, worker: &ActorKey) -> String {
    let cards = table.snapshot();
    let is_there = |card: &&ActorCard| {
        card.parent.as_ref() == Some(worker)
            && match card.kind {
                ActorKind::Session => {
                    matches!(
                        card.phase,
                        Phase::Active | Phase::Starting | Phase::Stopping
                    )
                }
                ActorKind::Role => true,
                _ => false,
            }
    };
    match cards.iter().find(is_there) {
        Some(card) if card.kind == ActorKind::Role => {
            format!("waits for {} to end: it works in this directory", card.key)
        }
        Some(card) => format!("waits for the turn of {}", card.key),
        None => "waits for the directory: a chat or another process works there".to_owned(),
    }
}
