//! The loop itself, and the way of one attempt through its steps ([`super::ending`] has how it ends). What was under way when
//! a supervisor died comes first ([`super::resume`]).

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::deps::{Admission, LoopSettings, LooperDeps};
use super::progress::Progress;
use super::step::{Attempt, Stop, stopped_for_a_while};
use crate::domain::task::{BranchChange, BranchName, Class, CommitId, Failure, Phase};
use crate::ports::tasks::{Assignment, Blocked, LoopEnd, Pulled, Task, TurnCount};

/// Takes and does tasks, one at a time, until it is told to stop or cannot go on.
pub async fn run_loop(
    deps: &dyn LooperDeps,
    settings: &LoopSettings,
    stop: CancellationToken,
) -> LoopEnd {
    match run(deps, settings, &stop).await {
        Ok(()) => LoopEnd::Stopped,
        Err(blocked) => LoopEnd::Blocked(blocked),
    }
}

async fn run(
    deps: &dyn LooperDeps,
    settings: &LoopSettings,
    stop: &CancellationToken,
) -> Result<(), Blocked> {
    super::resume::resume(deps, settings, stop).await?;
    loop {
        if stop.is_cancelled() {
            return Ok(());
        }
        // What is on its way has a moment to arrive: the attempt gives it back, and it would else be ours until its lease ends.
        let pulled = tokio::select! {
            biased;
            pulled = deps.queue().pull(None) => pulled,
            () = stopped_for_a_while(deps, stop) => return Ok(()),
        };
        let task = match pulled {
            Ok(Pulled::Task(task)) => task,
            Ok(Pulled::Ended) => return Ok(()),
            Err(error) => return Err(Blocked::Queue(error.to_string())),
        };
        deps.log(Progress::Began {
            task: task.id.clone(),
            title: title_of(&task.description),
            attempt: task.attempt,
        });
        let span = tracing::info_span!("task", id = %task.id, attempt = task.attempt);
        let mut attempt = Attempt::new(deps, settings, stop, task);
        let succeeded = Box::pin(attempt.go()).instrument(span).await?;
        if !succeeded {
            tokio::select! {
                () = stop.cancelled() => {}
                () = deps.sleep(settings.pause) => {}
            }
        }
    }
}

impl Attempt<'_> {
    /// The whole attempt, whatever becomes of it. Returns whether it succeeded.
    async fn go(&mut self) -> Result<bool, Blocked> {
        let (_directory, place) = match self.admitted().await {
            Ok(Admission { place, directory }) => (directory, place),
            Err(why) => return self.give_up(None, None, why, false).await,
        };
        let change = match self.begin().await {
            Ok(change) => change,
            Err((change, why)) => return self.give_up(change, None, why, false).await,
        };
        if let Err(why) = self.work(&change).await {
            return self.give_up(Some(change), None, why, false).await;
        }
        drop(place);
        self.deliver(change, false).await
    }

    /// The directory is the task's until the attempt is over.
    async fn admitted(&mut self) -> Result<Admission, Stop> {
        self.enter(Phase::Pulled).await?;
        let ready = self.unless_stopped(self.deps.runner().ready()).await?;
        ready.map_err(|why| Stop::Blocked(Blocked::Assistant(why)))?;
        self.admission().await
    }

    /// From the queue to the task's branch.
    async fn begin(&mut self) -> Result<BranchChange, (Option<BranchChange>, Stop)> {
        let nothing_yet = |why| (None, why);
        let name = self
            .branch_name()
            .map_err(|failure| (None, Stop::Failed(failure)))?;
        let start = self.now();
        let git = self.deps.git();
        let found = self.git(|| git.is_clean()).await.map_err(nothing_yet)?;
        if let Some(obstacle) = found.obstacle() {
            return Err((None, Stop::Blocked(Blocked::NotClean(obstacle))));
        }
        self.metrics.check_ms = self.since(start);
        let start = self.now();
        let prepared = self.git(|| git.prepare(name.clone())).await;
        let change = prepared.map_err(nothing_yet)?;
        let begun = async {
            let entered = change.clone();
            self.enter(Phase::Branching { change: entered }).await?;
            self.git(|| git.branch(change.clone())).await
        };
        if let Err(why) = begun.await {
            return Err((Some(change), why));
        }
        self.metrics.branch_ms = self.since(start);
        self.deps.log(Progress::Branched {
            task: self.task.id.clone(),
            branch: change.created.clone(),
        });
        Ok(change)
    }

    fn branch_name(&self) -> Result<BranchName, Failure> {
        let bad = |why: String| Failure::new(Class::BadTask, why);
        let text = &self.task.description;
        if text.trim().is_empty() {
            return Err(bad("the task is empty".to_owned()));
        }
        if text.len() > self.settings.longest_description {
            return Err(bad(format!(
                "the task has {} bytes, {} are the most",
                text.len(),
                self.settings.longest_description
            )));
        }
        BranchName::of_task(&self.settings.branch_prefix, text).map_err(|e| bad(e.to_string()))
    }

    /// The assistant's part.
    async fn work(&mut self, change: &BranchChange) -> Result<(), Stop> {
        let entered = change.clone();
        self.enter(Phase::Running { change: entered }).await?;
        let start = self.now();
        let ran = self.run_assistant(change).await;
        self.metrics.run_ms = self.since(start);
        self.metrics.run = match ran {
            Err(Stop::Blocked(Blocked::Shortage(why))) => {
                return Err(self.ran_short(change, why).await);
            }
            ran => Some(ran?),
        };
        Ok(())
    }

    /// That the assistant says so proves nothing.
    async fn has_worked(&self, change: &BranchChange) -> Result<(), Stop> {
        let git = self.deps.git();
        let found = self.git_to_its_end(|| git.evidence(change.clone())).await?;
        if found.is_work() {
            return Ok(());
        }
        Err(Stop::Failed(Failure::new(
            Class::NoChanges,
            "the assistant says that it is done, but nothing has changed",
        )))
    }

    /// A machine that is short of something uses no task up. But an assistant that has come to work on the task may itself be
    /// what fills the disk: then the attempt counts, because the same would follow for ever.
    async fn ran_short(&self, change: &BranchChange, why: String) -> Stop {
        let git = self.deps.git();
        let blocked = Blocked::Shortage(why.clone());
        match self.git(|| git.evidence(change.clone())).await {
            Ok(evidence) if evidence.is_work() => {
                Stop::FailedFor(Failure::new(Class::Shortage, why), blocked)
            }
            Err(stop @ (Stop::Stopping | Stop::Withdrawn)) => stop,
            _ => Stop::Blocked(blocked),
        }
    }

    /// Asked to end before it is ended, so that it can put away what it has open.
    async fn run_assistant(
        &self,
        change: &BranchChange,
    ) -> Result<crate::ports::tasks::RunReport, Stop> {
        let abort = CancellationToken::new();
        let turns = TurnCount::default();
        self.deps.log(Progress::Asked {
            task: self.task.id.clone(),
            turns: turns.clone(),
        });
        let mut run = self.deps.runner().run(
            Assignment {
                task: self.task.id.clone(),
                description: self.task.description.clone(),
                directory: change.directory.clone(),
                turns,
            },
            abort.clone(),
        );
        let why = tokio::select! {
            biased;
            ran = &mut run => return ran.map_err(of_run),
            () = self.stop.cancelled() => Stop::Stopping,
            () = self.task.withdrawn.cancelled() => Stop::Withdrawn,
        };
        abort.cancel();
        // Whatever it says now, the attempt is over; but it must have ended before anything is undone.
        let _ = run.await;
        Err(why)
    }

    /// From what is in the tree, if it is work, to the acknowledged artifact. Called again from the start after a kill.
    pub async fn deliver(
        &mut self,
        change: BranchChange,
        after_restart: bool,
    ) -> Result<bool, Blocked> {
        let start = self.now();
        let entered = change.clone();
        if let Err(why) = self.enter(Phase::Committing { change: entered }).await {
            return self.keep_or_give_up(change, None, why, after_restart).await;
        }
        if self.task.withdrawn.is_cancelled() {
            let why = Stop::Withdrawn;
            return self.give_up(Some(change), None, why, after_restart).await;
        }
        match self.has_worked(&change).await {
            Ok(()) => {}
            // Whoever comes back to it, or whom nobody can blame, is waited for with the work.
            Err(Stop::Blocked(blocked)) if after_restart || blocked.is_nobodys_fault() => {
                return Err(blocked);
            }
            Err(why) => return self.give_up(Some(change), None, why, after_restart).await,
        }
        let (git, message) = (self.deps.git(), self.message());
        let committed = self
            .git_to_its_end(|| git.commit(change.clone(), message.clone()))
            .await;
        self.metrics.commit_ms = self.since(start);
        match committed {
            Ok(commit) => self.push(change, commit, after_restart).await,
            // What is not the task's fault waits with the work: the journal says that it has to be committed.
            Err(error) => {
                let why = Stop::from(error);
                self.keep_or_give_up(change, None, why, after_restart).await
            }
        }
    }

    pub async fn push(
        &mut self,
        change: BranchChange,
        commit: CommitId,
        after_restart: bool,
    ) -> Result<bool, Blocked> {
        let start = self.now();
        let (entered, pushing) = (change.clone(), commit.clone());
        let git = self.deps.git();
        let pushed = async {
            self.enter(Phase::Pushing {
                change: entered,
                commit: pushing,
            })
            .await?;
            // A task that waits for its remote is called off here, before the remote is tried again.
            if self.task.withdrawn.is_cancelled() {
                return Err(Stop::Withdrawn);
            }
            let push = || git.push(change.clone(), commit.clone());
            let pushed = self.git(push).await?;
            self.git_to_its_end(|| git.settle(change.clone())).await?;
            Ok(pushed)
        };
        let pushed = pushed.await;
        self.metrics.push_ms = self.since(start);
        match pushed {
            Ok(pushed) => self.acknowledge(change, commit, pushed).await,
            Err(why) => {
                let commit = Some(commit);
                self.keep_or_give_up(change, commit, why, after_restart)
                    .await
            }
        }
    }

    /// The task's text is the commit's: its first line, cut, is the subject.
    fn message(&self) -> String {
        commit_message(&self.task)
    }
}

/// That nobody is there to do tasks, or that the machine is short of something, is no task's fault: none of them may be used
/// up by it.
fn of_run(failure: Failure) -> Stop {
    match failure.class {
        Class::Missing => Stop::Blocked(Blocked::Assistant(failure.message)),
        Class::Shortage => Stop::Blocked(Blocked::Shortage(failure.message)),
        _ => Stop::Failed(failure),
    }
}

/// A task's first line, cut: what people call it.
pub fn title_of(description: &str) -> String {
    let line = description.trim().lines().next().unwrap_or_default();
    let plain = line.chars().filter(|c| !c.is_control());
    plain.take(SUBJECT_CHARS).collect()
}

const SUBJECT_CHARS: usize = 72;

fn commit_message(task: &Task) -> String {
    // What moves a cursor in a terminal has no place in a history that people read there.
    let text: String = task
        .description
        .trim()
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let line = text.lines().next().unwrap_or_default().trim();
    let plain = |c: &char| !c.is_control();
    let mut subject: String = line.chars().filter(plain).take(SUBJECT_CHARS).collect();
    let id = &task.id;
    if subject.len() == line.len() && text.len() == line.len() {
        return format!("{subject}\n\nTask: {id}\n");
    }
    if subject.chars().count() == SUBJECT_CHARS {
        subject.pop();
        subject.push('…');
    }
    format!("{subject}\n\n{text}\n\nTask: {id}\n")
}

#[cfg(test)]
mod message_tests {
    use super::*;

    fn message(text: &str) -> String {
        commit_message(&Task {
            id: "t1".into(),
            description: text.to_owned(),
            attempt: 1,
            lease: "l".to_owned(),
            withdrawn: CancellationToken::new(),
        })
    }

    #[test]
    fn a_short_task_is_the_subject_and_a_long_one_is_repeated_whole() {
        assert_eq!(message("implement login"), "implement login\n\nTask: t1\n");
        let two = message("one\ntwo");
        assert_eq!(two, "one\n\none\ntwo\n\nTask: t1\n");
        let long = message(&"x".repeat(100));
        let subject = long.lines().next().unwrap();
        assert_eq!(subject.chars().count(), SUBJECT_CHARS);
        assert!(subject.ends_with('…') && long.contains(&"x".repeat(100)));
        assert_eq!(
            message("a\u{1b}[2J\nb\u{7}"),
            "a[2J\n\na[2J\nb\n\nTask: t1\n"
        );
    }
}
