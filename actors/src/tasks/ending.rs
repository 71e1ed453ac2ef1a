//! How an attempt ends: acknowledged, undone and failed, or given back untried. What is committed is kept as long as
//! nothing but the world around is in its way.

use super::progress::Progress;
use super::step::{Attempt, Stop, aborted, stopped_for_a_while, unless_lost};
use crate::domain::task::{
    BranchChange, Class, CommitId, Doubt, Failure, Phase, saying_what_is_kept,
};
use crate::ports::git::{GitError, Undo};
use crate::ports::tasks::{Acknowledgement, Artifact, Blocked};

impl Attempt<'_> {
    /// Work that is committed is kept when the loop stops or is blocked: the journal has it, the next start goes on.
    pub async fn keep_or_give_up(
        &mut self,
        change: BranchChange,
        commit: Option<CommitId>,
        why: Stop,
        after_restart: bool,
    ) -> Result<bool, Blocked> {
        match why {
            Stop::Stopping => Ok(false),
            Stop::Blocked(blocked) => Err(blocked),
            why => self.give_up(Some(change), commit, why, after_restart).await,
        }
    }

    pub async fn acknowledge(
        &mut self,
        change: BranchChange,
        commit: CommitId,
        pushed: bool,
    ) -> Result<bool, Blocked> {
        let phase = Phase::Acknowledging {
            change: change.clone(),
            commit: commit.clone(),
            pushed,
        };
        if let Err(Stop::Blocked(blocked)) = self.enter(phase).await {
            return Err(blocked);
        }
        let artifact = Artifact {
            branch: change.created,
            previous: change.previous,
            base: change.base,
            commit,
            pushed,
        };
        let said = Acknowledgement::Done(artifact.clone());
        if self.tell(said).await? {
            self.deps.log(Progress::Done {
                task: self.task.id.clone(),
                artifact,
                metrics: self.metrics.clone(),
            });
        }
        Ok(true)
    }

    /// Undoes what was begun and tells the queue. `change` is there when something was.
    pub async fn give_up(
        &mut self,
        change: Option<BranchChange>,
        commit: Option<CommitId>,
        why: Stop,
        after_restart: bool,
    ) -> Result<bool, Blocked> {
        let (failure, blocked) = match why {
            Stop::Failed(failure) => (failure, None),
            Stop::FailedFor(failure, blocked) => (failure, Some(blocked)),
            Stop::Withdrawn => (aborted(), None),
            Stop::Stopping => {
                let returned = "the supervisor stops".to_owned();
                return self
                    .give_back(change, returned, after_restart)
                    .await
                    .map(|()| false);
            }
            // Nobody has worked yet, or it has nothing to do with the work: the task is not used up.
            Stop::Blocked(blocked) if self.metrics.run.is_none() || blocked.is_nobodys_fault() => {
                let why = blocked.to_string();
                self.give_back(change, why, after_restart).await?;
                return Err(blocked);
            }
            Stop::Blocked(blocked) => {
                let failure = Failure::new(Class::Repository, blocked.to_string());
                (failure, Some(blocked))
            }
        };
        let failure = match change {
            Some(change) => {
                self.clean_up(change, commit, failure, after_restart)
                    .await?
            }
            None => failure,
        };
        self.fail(failure).await?;
        blocked.map_or(Ok(false), Err)
    }

    /// To the state before the attempt. When that does not succeed, the journal keeps the phase and the loop ends. The failure
    /// says from then on where what the attempt left is kept.
    pub async fn clean_up(
        &mut self,
        change: BranchChange,
        commit: Option<CommitId>,
        failure: Failure,
        after_restart: bool,
    ) -> Result<Failure, Blocked> {
        let start = self.now();
        let phase = |failure: Failure| Phase::CleaningUp {
            change: change.clone(),
            commit: commit.clone(),
            failure,
        };
        if let Err(Stop::Blocked(blocked)) = self.enter(phase(failure.clone())).await {
            return Err(blocked);
        }
        let done = self
            .undo(change.clone(), commit.clone(), after_restart)
            .await;
        self.metrics.clean_up_ms = self.since(start);
        match done {
            Ok(undone) => Ok(undone.told_with(failure)),
            Err(Blocked::Git(error)) => {
                if let GitError::Moved { kept, .. } = &error
                    && let Err(Stop::Blocked(blocked)) =
                        self.enter(phase(failure.with_kept(kept.as_deref()))).await
                {
                    return Err(blocked);
                }
                Err(Blocked::Git(error))
            }
            Err(blocked) => Err(blocked),
        }
    }

    /// `commit` is there when it may have reached the remote.
    pub async fn undo(
        &self,
        change: BranchChange,
        commit: Option<CommitId>,
        after_restart: bool,
    ) -> Result<Undone, Blocked> {
        let undo = Undo {
            change: change.clone(),
            after_restart,
        };
        let git = self.deps.git();
        let done = self.git_to_its_end(|| git.clean_up(undo.clone())).await;
        let kept = done.map_err(|error| {
            self.deps.log(Progress::NotCleaned {
                task: self.task.id.clone(),
                why: error.to_string(),
            });
            Blocked::Git(error)
        })?;
        let doubt = match commit {
            Some(commit) => self.take_back(change, commit).await,
            None => None,
        };
        Ok(Undone { kept, doubt })
    }

    /// A remote that is away keeps no task from ending: it could be away for good.
    async fn take_back(&self, change: BranchChange, commit: CommitId) -> Option<Doubt> {
        let git = self.deps.git();
        let step = || git.take_back(change.clone(), commit.clone());
        let error = self.git_to_its_end(step).await.err()?;
        let doubt = Doubt {
            branch: change.created.clone(),
            why: error.to_string(),
        };
        self.deps.log(Progress::InDoubt {
            task: self.task.id.clone(),
            doubt: doubt.clone(),
        });
        Some(doubt)
    }

    pub async fn fail(&mut self, failure: Failure) -> Result<(), Blocked> {
        self.metrics.class = Some(failure.class);
        let phase = Phase::Failing {
            failure: failure.clone(),
        };
        if let Err(Stop::Blocked(blocked)) = self.enter(phase).await {
            return Err(blocked);
        }
        if self.tell(Acknowledgement::Failed(failure.clone())).await? {
            self.deps.log(Progress::Failed {
                task: self.task.id.clone(),
                failure,
                metrics: self.metrics.clone(),
            });
        }
        Ok(())
    }

    /// The attempt does not count. Undone from the phase that the journal has, so that a kill in here repeats it.
    pub async fn give_back(
        &mut self,
        change: Option<BranchChange>,
        why: String,
        after_restart: bool,
    ) -> Result<(), Blocked> {
        let why = match change {
            Some(change) => self.undo(change, None, after_restart).await?.told_in(why),
            None => why,
        };
        if self.tell(Acknowledgement::Returned(why.clone())).await? {
            let task = self.task.id.clone();
            self.deps.log(Progress::Returned { task, why });
        }
        Ok(())
    }

    /// Tells the queue, then forgets the task. `false`: the loop stops before the queue has answered, and the next
    /// start says it again.
    async fn tell(&self, what: Acknowledgement) -> Result<bool, Blocked> {
        let metrics = self.metrics.clone();
        let said = self
            .deps
            .queue()
            .acknowledge(self.task.clone(), what, metrics);
        let answer = tokio::select! {
            biased;
            answer = said => answer,
            () = stopped_for_a_while(self.deps, self.stop) => return Ok(false),
        };
        unless_lost(answer)?;
        self.deps.journal().clear().await?;
        Ok(true)
    }
}

/// What undoing an attempt came to.
pub struct Undone {
    /// The ref that has what was cleared away.
    kept: Option<String>,
    doubt: Option<Doubt>,
}

impl Undone {
    fn told_in(&self, why: String) -> String {
        saying_what_is_kept(why, self.kept.as_deref())
    }

    fn told_with(self, failure: Failure) -> Failure {
        failure
            .with_kept(self.kept.as_deref())
            .with_doubt(self.doubt.as_ref())
    }
}
