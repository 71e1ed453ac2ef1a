//! A repository, a journal and somebody who does tasks, without files: each test says what stands in the way. It outlives
//! every supervisor, as a disk does; what a killed one had begun goes no further.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use orchestrator_actors::domain::ids::WorkerId;
use orchestrator_actors::domain::task::{BranchChange, BranchName, CommitId, Entry, Failure};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::git::{
    ChainLink, Cleanliness, Evidence, Git, GitError, Relationship, StateDump, Undo,
};
use orchestrator_actors::ports::tasks::{
    Assignment, Directory, Held, JournalError, RunReport, Runner, Site, TaskJournal, Wanted,
    Workshop, Workshops,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
pub struct FakeTasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Loops that hold the directory.
    holders: AtomicUsize,
    /// Runs that have begun and not ended.
    running: watch::Sender<usize>,
    /// Runs go on only while it is true.
    going: watch::Sender<bool>,
    /// There is a place for one more assistant.
    roomy: watch::Sender<bool>,
}

#[derive(Default)]
pub struct State {
    pub journal: Option<Entry>,
    pub current: String,
    pub branches: Vec<String>,
    pub runs: Vec<String>,
    pub undone: u32,
    /// There are uncommitted changes.
    pub dirty: bool,
    /// Nobody is there to do tasks.
    pub missing: bool,
    /// Somebody else works in the directory.
    pub occupied: bool,
    /// Of the next runs, so many panic.
    pub panics: u32,
    /// Of the next attempts to undo something, so many fail.
    pub undo_fails: u32,
    /// Settings that a loop was opened with.
    pub prefixes: Vec<String>,
}

impl FakeTasks {
    pub fn new() -> Self {
        let tasks = Self::default();
        tasks.state().current = "main".to_owned();
        tasks.0.going.send_replace(true);
        tasks.0.roomy.send_replace(true);
        tasks
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Runs stay where they are until they are let go.
    pub fn hold(&self) {
        self.0.going.send_replace(false);
    }

    pub fn let_go(&self) {
        self.0.going.send_replace(true);
    }

    pub fn set_roomy(&self, roomy: bool) {
        self.0.roomy.send_replace(roomy);
    }

    pub async fn until_running(&self) {
        let mut running = self.0.running.subscribe();
        let limit = std::time::Duration::from_mins(10);
        let wait = running.wait_for(|count| *count > 0);
        tokio::time::timeout(limit, wait)
            .await
            .expect("a run begins")
            .unwrap();
    }

    pub fn running(&self) -> usize {
        *self.0.running.borrow()
    }

    pub fn holders(&self) -> usize {
        self.0.holders.load(Ordering::SeqCst)
    }

    fn step<T: Send + 'static>(
        &self,
        doing: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Pending<T> {
        let tasks = self.clone();
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            doing(&mut tasks.state())
        })
    }
}

impl Workshops for FakeTasks {
    fn open(&self, site: &Site) -> Workshop {
        let prefix = site.settings.git.branch_prefix.clone();
        self.state().prefixes.push(prefix);
        let this = Arc::new(self.clone());
        Workshop {
            runner: this.clone(),
            git: this.clone(),
            journal: this.clone(),
            directory: this,
        }
    }

    fn has_left(&self, _: &WorkerId) -> Pending<bool> {
        self.step(|state| state.journal.is_some())
    }
}

struct Holding(FakeTasks);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.0.holders.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Directory for FakeTasks {
    fn try_take(&self, _: Wanted) -> Pending<Result<Option<Held>, String>> {
        let tasks = self.clone();
        Box::pin(async move {
            if tasks.state().occupied {
                return Ok(None);
            }
            let before = tasks.0.holders.fetch_add(1, Ordering::SeqCst);
            assert_eq!(before, 0, "two loops are in one directory");
            Ok(Some(Box::new(Holding(tasks)) as Held))
        })
    }
}

struct Running(FakeTasks);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|count| *count -= 1);
    }
}

impl Runner for FakeTasks {
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let tasks = self.clone();
        Box::pin(async move {
            tasks.0.running.send_modify(|count| *count += 1);
            let _running = Running(tasks.clone());
            tasks.state().runs.push(assignment.description.clone());
            let panics = tasks.state().panics;
            if panics > 0 {
                tasks.state().panics -= 1;
                tasks.state().dirty = true;
                panic!("a panic was injected into a run");
            }
            assignment.turns.set(3);
            let mut going = tasks.0.going.subscribe();
            tokio::select! {
                () = abort.cancelled() => {
                    let class = orchestrator_actors::domain::task::Class::Aborted;
                    Err(Failure::new(class, "called off"))
                }
                _ = going.wait_for(|going| *going) => {
                    tasks.state().dirty = true;
                    Ok(RunReport { turns: 3, input_tokens: 100, output_tokens: 7, ..RunReport::default() })
                }
            }
        })
    }

    fn place(&self) -> Pending<Held> {
        let mut roomy = self.0.roomy.subscribe();
        Box::pin(async move {
            let _ = roomy.wait_for(|roomy| *roomy).await;
            Box::new(()) as Held
        })
    }

    fn ready(&self) -> Pending<Result<(), String>> {
        self.step(|state| {
            if state.missing {
                return Err("nobody is there".to_owned());
            }
            Ok(())
        })
    }
}

impl TaskJournal for FakeTasks {
    fn write(&self, entry: Entry) -> Pending<Result<(), JournalError>> {
        self.step(|state| {
            state.journal = Some(entry);
            Ok(())
        })
    }

    fn clear(&self) -> Pending<Result<(), JournalError>> {
        self.step(|state| {
            state.journal = None;
            Ok(())
        })
    }

    fn read(&self) -> Pending<Result<Option<Entry>, JournalError>> {
        self.step(|state| Ok(state.journal.clone()))
    }
}

impl Git for FakeTasks {
    fn is_clean(&self) -> Pending<Result<Cleanliness, GitError>> {
        self.step(|state| {
            let changed = usize::from(state.dirty);
            Ok(Cleanliness {
                changed: vec!["README.md".to_owned(); changed],
                changed_count: changed,
                ..Cleanliness::default()
            })
        })
    }

    fn prepare(&self, name: BranchName) -> Pending<Result<BranchChange, GitError>> {
        self.step(move |state| {
            if state.branches.contains(&name.to_string()) {
                return Err(GitError::BranchExists(name));
            }
            Ok(BranchChange {
                previous: BranchName::new(state.current.clone()).unwrap(),
                created: name,
                base: CommitId::new("base"),
                directory: PathBuf::from("/w"),
                isolation: None,
                route: None,
            })
        })
    }

    fn branch(&self, change: BranchChange) -> Pending<Result<(), GitError>> {
        self.step(move |state| {
            state.branches.push(change.created.to_string());
            state.current = change.created.to_string();
            Ok(())
        })
    }

    fn evidence(&self, _: BranchChange) -> Pending<Result<Evidence, GitError>> {
        self.step(|state| {
            Ok(Evidence {
                changed: usize::from(state.dirty),
                commits: 0,
            })
        })
    }

    fn commit(&self, change: BranchChange, _: String) -> Pending<Result<CommitId, GitError>> {
        self.step(move |state| {
            state.dirty = false;
            Ok(CommitId::new(format!("tip of {}", change.created)))
        })
    }

    fn push(&self, _: BranchChange) -> Pending<Result<bool, GitError>> {
        self.step(|_| Ok(true))
    }

    fn take_back(&self, _: BranchChange, _: CommitId) -> Pending<Result<(), GitError>> {
        self.step(|_| Ok(()))
    }

    fn settle(&self, _: BranchChange) -> Pending<Result<(), GitError>> {
        self.step(|_| Ok(()))
    }

    fn clean_up(&self, undo: Undo) -> Pending<Result<Option<String>, GitError>> {
        self.step(move |state| {
            if state.undo_fails > 0 {
                state.undo_fails -= 1;
                return Err(GitError::Locked("index.lock".to_owned()));
            }
            state.undone += 1;
            state.dirty = false;
            state.current = undo.change.previous.to_string();
            let created = undo.change.created.to_string();
            state.branches.retain(|branch| *branch != created);
            Ok(None)
        })
    }

    fn verify_chain(&self, _: Vec<ChainLink>) -> Pending<Result<Vec<Relationship>, GitError>> {
        unreachable!("the loop does not ask")
    }

    fn dump_state(&self, _: String) -> Pending<Result<StateDump, GitError>> {
        unreachable!("the loop does not ask")
    }
}
