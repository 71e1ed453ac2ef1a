//! A repository, a queue, an assistant and a journal in memory, which one can interrupt before and after each of
//! their steps. The journal and the queue survive a killed loop, as the real ones do.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::TaskId;
use crate::domain::task::{
    BranchChange, BranchName, CommitId, Entry, Failure, Isolation, Patience,
};
use crate::ports::Pending;
use crate::ports::git::{
    ChainLink, Cleanliness, Evidence, Git, GitError, Relationship, StateDump, Undo,
};
use crate::ports::tasks::{
    Acknowledgement, Assignment, Blocked, Held, JournalError, LoopEnd, Metrics, Pulled, Queue,
    QueueError, RunReport, Runner, Task, TaskJournal, Wanted,
};
use crate::tasks::{LoopSettings, LooperDeps, Progress, run_loop};

/// What happens at a point of the loop's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    Kill,
    Stop,
    Withdraw,
}

#[derive(Default)]
pub struct State {
    /// Every step, in order.
    pub calls: Vec<String>,
    pub journal: Option<Entry>,
    pub queue: VecDeque<(TaskId, String, u32)>,
    pub in_hand: Option<Task>,
    pub leases: u32,
    pub acknowledged: Vec<(String, Acknowledgement)>,
    pub current: String,
    pub branches: BTreeSet<String>,
    pub remote: BTreeSet<String>,
    pub dirty: bool,
    /// Commits on the task's branch.
    pub committed: BTreeSet<String>,
    pub runs: Vec<String>,
    pub changes_nothing: bool,
    pub obstacle: bool,
    /// `before commit`, `after push`, …: once.
    pub interruption: Option<(String, Interruption)>,
    /// A step, its error, and how often it fails.
    pub git_fails: Option<(&'static str, GitError, u32)>,
    pub run_fails: VecDeque<Failure>,
    /// The queue has given the task in hand to somebody else.
    pub lease_lost: bool,
    /// The owner has called off the task in hand.
    pub called_off: bool,
    pub progress: Vec<Progress>,
    /// As the settings say at the moment.
    pub isolation: Option<Isolation>,
    /// What was asked of the directory.
    pub wanted: Vec<Wanted>,
}

#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    killed: Arc<Notify>,
    stop: Arc<Mutex<CancellationToken>>,
    pub settings: LoopSettings,
    /// How often the queue tries a task.
    pub attempts: u32,
}

impl World {
    pub fn new(tasks: &[&str]) -> Self {
        let state = State {
            queue: tasks
                .iter()
                .enumerate()
                .map(|(index, text)| (TaskId::new(format!("t{index}")), (*text).to_owned(), 1))
                .collect(),
            current: "main".to_owned(),
            branches: BTreeSet::from(["main".to_owned()]),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            killed: Arc::default(),
            stop: Arc::default(),
            settings: LoopSettings {
                git: Patience::GIT,
                ..LoopSettings::default()
            },
            attempts: 3,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Runs a loop until it ends or is killed (`None`).
    pub async fn run(&self) -> Option<LoopEnd> {
        let stop = CancellationToken::new();
        *self.stop.lock().unwrap() = stop.clone();
        tokio::select! {
            end = run_loop(self, &self.settings, stop) => Some(end),
            () = self.killed.notified() => None,
        }
    }

    /// Runs loops until one ends by itself, as a supervisor that is started again after every kill and every stop.
    pub async fn run_to_the_end(&self) {
        for _ in 0..10 {
            let end = self.run().await;
            let state = self.state();
            if end == Some(LoopEnd::Stopped) && state.queue.is_empty() && state.in_hand.is_none() {
                return;
            }
            assert!(!matches!(end, Some(LoopEnd::Blocked(_))), "{end:?}");
        }
        panic!("it never ends");
    }

    pub fn steps(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    async fn point(&self, point: String) {
        let interruption = {
            let mut state = self.state();
            match &state.interruption {
                Some((at, what)) if *at == point => {
                    let what = *what;
                    state.interruption = None;
                    Some(what)
                }
                _ => None,
            }
        };
        match interruption {
            None => {}
            Some(Interruption::Kill) => {
                self.killed.notify_one();
                pending::<()>().await;
            }
            Some(Interruption::Stop) => {
                self.stop.lock().unwrap().cancel();
                tokio::task::yield_now().await;
            }
            Some(Interruption::Withdraw) => {
                if let Some(task) = &self.state().in_hand {
                    task.withdrawn.cancel();
                }
                tokio::task::yield_now().await;
            }
        }
    }

    /// One step with a point on either side of it.
    fn step<T: Send + 'static>(
        &self,
        name: &'static str,
        doing: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Pending<T> {
        let world = self.clone();
        Box::pin(async move {
            world.point(format!("before {name}")).await;
            let done = {
                let mut state = world.state();
                state.calls.push(name.to_owned());
                doing(&mut state)
            };
            world.point(format!("after {name}")).await;
            done
        })
    }

    fn git_step<T: Send + 'static>(
        &self,
        name: &'static str,
        doing: impl FnOnce(&mut State) -> Result<T, GitError> + Send + 'static,
    ) -> Pending<Result<T, GitError>> {
        self.step(name, move |state| {
            if let Some((at, error, times)) = &mut state.git_fails
                && *at == name
                && *times > 0
            {
                *times -= 1;
                return Err(error.clone());
            }
            doing(state)
        })
    }
}

impl Git for World {
    fn is_clean(&self) -> Pending<Result<Cleanliness, GitError>> {
        self.git_step("is_clean", |state| {
            let changed = usize::from(state.obstacle || state.dirty);
            Ok(Cleanliness {
                changed: vec!["README.md".to_owned(); changed],
                changed_count: changed,
                ..Cleanliness::default()
            })
        })
    }

    fn prepare(&self, name: BranchName) -> Pending<Result<BranchChange, GitError>> {
        self.git_step("prepare", move |state| {
            if state.branches.contains(name.as_str()) {
                return Err(GitError::BranchExists(name));
            }
            Ok(BranchChange {
                previous: BranchName::new(state.current.clone()).unwrap(),
                created: name,
                base: CommitId::new(format!("tip of {}", state.current)),
                directory: "/work".into(),
                isolation: state.isolation.clone(),
                route: None,
            })
        })
    }

    fn branch(&self, change: BranchChange) -> Pending<Result<(), GitError>> {
        self.git_step("branch", move |state| {
            state.branches.insert(change.created.to_string());
            state.current = change.created.to_string();
            Ok(())
        })
    }

    fn evidence(&self, change: BranchChange) -> Pending<Result<Evidence, GitError>> {
        self.git_step("evidence", move |state| {
            assert_eq!(state.current, change.created.as_str());
            Ok(Evidence {
                changed: usize::from(state.dirty),
                commits: 0,
            })
        })
    }

    fn commit(&self, change: BranchChange, _: String) -> Pending<Result<CommitId, GitError>> {
        self.git_step("commit", move |state| {
            assert_eq!(state.current, change.created.as_str());
            state.dirty = false;
            state.committed.insert(change.created.to_string());
            Ok(CommitId::new(format!("tip of {}", change.created)))
        })
    }

    fn push(&self, change: BranchChange) -> Pending<Result<bool, GitError>> {
        self.git_step("push", move |state| {
            assert!(state.committed.contains(change.created.as_str()));
            state.remote.insert(change.created.to_string());
            Ok(true)
        })
    }

    fn settle(&self, _: BranchChange) -> Pending<Result<(), GitError>> {
        self.git_step("settle", |state| {
            assert!(!state.dirty);
            Ok(())
        })
    }

    fn clean_up(&self, undo: Undo) -> Pending<Result<Option<String>, GitError>> {
        self.git_step("clean_up", move |state| {
            let created = undo.change.created.as_str();
            assert!(
                !undo.after_restart
                    || [created, undo.change.previous.as_str()].contains(&state.current.as_str())
            );
            state.dirty = false;
            state.current = undo.change.previous.to_string();
            state.branches.remove(created);
            state.committed.remove(created);
            Ok(Some(format!("refs/orchestrator/left/{created}")))
        })
    }

    fn take_back(&self, change: BranchChange, _: CommitId) -> Pending<Result<(), GitError>> {
        self.git_step("take_back", move |state| {
            state.remote.remove(change.created.as_str());
            Ok(())
        })
    }

    fn verify_chain(&self, _: Vec<ChainLink>) -> Pending<Result<Vec<Relationship>, GitError>> {
        unreachable!("the loop does not ask")
    }

    fn dump_state(&self, _: String) -> Pending<Result<StateDump, GitError>> {
        unreachable!("the loop does not ask")
    }
}

impl Queue for World {
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>> {
        self.step("pull", move |state| {
            if state.lease_lost && known.is_some() {
                state.in_hand = None;
            }
            let held = state.in_hand.as_ref().map(|task| task.lease.as_str());
            if known.is_some_and(|known| held != Some(known.lease.as_str())) {
                return Err(QueueError::Lost);
            }
            if let Some(task) = &mut state.in_hand {
                task.withdrawn = CancellationToken::new();
                if std::mem::take(&mut state.called_off) {
                    task.withdrawn.cancel();
                }
                return Ok(Pulled::Task(task.clone()));
            }
            let Some((id, description, attempt)) = state.queue.pop_front() else {
                return Ok(Pulled::Ended);
            };
            state.leases += 1;
            let task = Task {
                id,
                description,
                attempt,
                lease: format!("lease {}", state.leases),
                withdrawn: CancellationToken::new(),
            };
            state.in_hand = Some(task.clone());
            Ok(Pulled::Task(task))
        })
    }

    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        _: Metrics,
    ) -> Pending<Result<(), QueueError>> {
        let most = self.attempts;
        self.step("acknowledge", move |state| {
            if state
                .in_hand
                .as_ref()
                .is_none_or(|held| held.lease != task.lease)
            {
                return Err(QueueError::Lost);
            }
            state.in_hand = None;
            let again = match &what {
                Acknowledgement::Done(_) => None,
                Acknowledgement::Returned(_) => Some(task.attempt),
                Acknowledgement::Failed(failure) => (failure.class.worth_another_attempt()
                    && task.attempt < most)
                    .then_some(task.attempt + 1),
            };
            if let Some(attempt) = again {
                state
                    .queue
                    .push_front((task.id, task.description.clone(), attempt));
            }
            state.acknowledged.push((task.description, what));
            Ok(())
        })
    }
}

impl Runner for World {
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let ran = self.step("run", move |state| {
            assert_ne!(state.current, "main");
            state.runs.push(assignment.description);
            state.dirty = !state.changes_nothing;
            match state.run_fails.pop_front() {
                Some(failure) => Err(failure),
                None => Ok(RunReport::default()),
            }
        });
        Box::pin(async move {
            let ran = ran.await;
            if abort.is_cancelled() {
                return Err(crate::tasks::step::aborted());
            }
            ran
        })
    }
}

impl TaskJournal for World {
    fn write(&self, entry: Entry) -> Pending<Result<(), JournalError>> {
        self.step("write", move |state| {
            let name = entry.phase.name();
            state.calls.push(format!("({name})"));
            state.journal = Some(entry);
            Ok(())
        })
    }

    fn clear(&self) -> Pending<Result<(), JournalError>> {
        self.step("clear", |state| {
            state.journal = None;
            Ok(())
        })
    }

    fn read(&self) -> Pending<Result<Option<Entry>, JournalError>> {
        let entry = self.state().journal.clone();
        Box::pin(async move { Ok(entry) })
    }
}

impl LooperDeps for World {
    fn queue(&self) -> &dyn Queue {
        self
    }

    fn runner(&self) -> &dyn Runner {
        self
    }

    fn git(&self) -> &dyn Git {
        self
    }

    fn journal(&self) -> &dyn TaskJournal {
        self
    }

    fn directory(&self, wanted: Wanted) -> Pending<Result<Held, Blocked>> {
        self.state().wanted.push(wanted);
        Box::pin(async { Ok(Box::new(()) as Held) })
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, time: Duration) -> Pending<()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn log(&self, progress: Progress) {
        self.state().progress.push(progress);
    }
}
