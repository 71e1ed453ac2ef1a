//! After a start: what a dead supervisor had under way is brought to its end before anything else is taken. The queue is
//! asked first whether the task is still ours; a repository is put in order either way.

use tokio_util::sync::CancellationToken;

use super::deps::{LoopSettings, LooperDeps};
use super::progress::Progress;
use super::step::Attempt;
use crate::domain::ids::TaskId;
use crate::domain::task::{Entry, Resume};
use crate::ports::tasks::{Blocked, Pulled, QueueError, Task, Wanted};

const WHY: &str = "the supervisor ended in the middle of it";

pub async fn resume(
    deps: &dyn LooperDeps,
    settings: &LoopSettings,
    stop: &CancellationToken,
) -> Result<(), Blocked> {
    let Some(entry) = deps.journal().read().await? else {
        return Ok(());
    };
    deps.log(Progress::Resumed {
        task: TaskId::new(&entry.task),
        title: super::looper::title_of(&entry.description),
        attempt: entry.attempt,
        phase: entry.phase.name(),
    });
    let answer = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        answer = deps.queue().pull(Some(entry.clone())) => answer,
    };
    let (task, is_ours) = match answer {
        Ok(Pulled::Task(task)) if task.lease == entry.lease => (task, true),
        Ok(Pulled::Ended) => return Ok(()),
        Ok(Pulled::Task(_)) | Err(QueueError::Lost) => (of_entry(&entry), false),
        Err(QueueError::Refused(why)) => return Err(Blocked::Queue(why)),
    };
    let wanted = Wanted {
        task: task.id.clone(),
        isolation: entry
            .phase
            .change()
            .and_then(|change| change.isolation.clone()),
        after_restart: true,
    };
    let mut attempt = Attempt::new(deps, settings, stop, task);
    let _directory = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        held = deps.directory(wanted) => held?,
    };
    if is_ours {
        attempt.go_on(entry.phase.into()).await
    } else {
        attempt.leave(entry.phase.into()).await
    }
}

fn of_entry(entry: &Entry) -> Task {
    Task {
        id: TaskId::new(&entry.task),
        description: entry.description.clone(),
        attempt: entry.attempt,
        lease: entry.lease.clone(),
        withdrawn: CancellationToken::new(),
    }
}

impl Attempt<'_> {
    /// The task is still ours.
    async fn go_on(&mut self, from: Resume) -> Result<(), Blocked> {
        let why = WHY.to_owned();
        match from {
            Resume::Return => self.give_back(None, why, true).await,
            Resume::Undo { change } => self.give_back(Some(change), why, true).await,
            Resume::Commit { change } => self.deliver(change, true).await.map(drop),
            Resume::Push { change, commit } => self.push(change, commit, true).await.map(drop),
            Resume::Acknowledge {
                change,
                commit,
                pushed,
            } => self.acknowledge(change, commit, pushed).await.map(drop),
            Resume::CleanUp {
                change,
                commit,
                failure,
            } => {
                let failure = self.clean_up(change, commit, failure, true).await?;
                self.fail(failure).await
            }
            Resume::Fail { failure } => self.fail(failure).await,
        }
    }

    /// The task is somebody else's: the repository is left without a half-made branch, and nothing is said. A push that
    /// arrived is taken back, too: whoever has the task now needs the branch's name.
    async fn leave(&mut self, from: Resume) -> Result<(), Blocked> {
        match from {
            Resume::Undo { change } | Resume::Commit { change } => {
                self.undo(change, None, true).await?;
            }
            Resume::Push { change, commit } => drop(self.undo(change, Some(commit), true).await?),
            Resume::CleanUp { change, commit, .. } => {
                drop(self.undo(change, commit, true).await?);
            }
            Resume::Return | Resume::Acknowledge { .. } | Resume::Fail { .. } => {}
        }
        self.deps.journal().clear().await?;
        Ok(())
    }
}
