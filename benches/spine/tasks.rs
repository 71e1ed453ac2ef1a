//! What our loop adds to an assistant's work: everything of a task but the assistant, over real git in a repository of 2,000 files
//! with a bare remote. The assistant is a function that writes one file. Beside it the same steps by bare git, started as a
//! shell script would, in the same run and in turns, so that a busy machine slows both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orchestrator::adapters::clock::SystemClock;
use orchestrator::adapters::git::{GitCli, GitConfig, Identity};
use orchestrator::adapters::tasks::{FileJournal, SystemDeps};
use orchestrator_actors::domain::task::Failure;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{Assignment, LoopEnd, Metrics, RunReport, Runner};
use orchestrator_actors::tasks::{LoopSettings, MemoryQueue, Progress, run_loop};
use tokio_util::sync::CancellationToken;

use crate::common::files;
use crate::common::table::{TIMES, Table, Times};
use crate::{ORCHESTRATOR, Samples, common};

const FILES: usize = 2_000;

pub fn table(samples: Samples) {
    let runtime = common::runtime();
    let (mut ours, mut bare) = (Times::new(), Times::new());
    let mut steps: Vec<Metrics> = Vec::new();
    let (repository, other) = (Repository::new(), Repository::new());
    let rig = Rig::new(&repository);
    for number in 0..samples.starts.max(3) {
        bare.add(other.by_hand(number));
        let begun = Instant::now();
        let metrics = runtime.block_on(rig.task(number));
        let all = begun.elapsed();
        ours.add(all.saturating_sub(Duration::from_millis(metrics.run_ms)));
        steps.push(metrics);
    }
    let mut table = Table::new("A task's way around its assistant, 2,000 files", &TIMES);
    table.row(
        "the loop, from the queue to the acknowledgement",
        ours.cells(),
    );
    for (name, of) in [
        ("  is it clean", (|one| one.check_ms) as fn(&Metrics) -> u64),
        ("  branch", |one| one.branch_ms),
        ("  commit", |one| one.commit_ms),
        ("  push, and nothing is left", |one| one.push_ms),
    ] {
        let mut times = Times::new();
        for one in &steps {
            times.add(Duration::from_millis(of(one)));
        }
        table.row(name, times.cells());
    }
    table.row(
        "yardstick: status, switch, add, commit, push by bare git",
        bare.cells(),
    );
    let ratio = ours.median() as f64 / bare.median().max(1) as f64;
    let ratio = format!("{ratio:.2}");
    table.row("of the yardstick", vec![ratio]);
    table.print();
}

struct Repository {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Repository {
    fn new() -> Self {
        let folder = files::folder();
        let path = folder.path().join("work");
        for number in 0..FILES {
            let place = path.join(format!("src/part{}", number % 40));
            std::fs::create_dir_all(&place).expect("a folder");
            let text = format!("// file {number}\n").repeat(20);
            std::fs::write(place.join(format!("file{number}.rs")), text).expect("a file");
        }
        let repository = Self { folder, path };
        repository.git(&["init", "-q", "-b", "main"]);
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "-m", "first"]);
        repository.git(&["init", "-q", "--bare", "-b", "main", "../remote.git"]);
        repository.git(&["remote", "add", "origin", "../remote.git"]);
        repository.git(&["push", "-q", "-u", "origin", "main"]);
        repository
    }

    fn git(&self, args: &[&str]) {
        let done = Command::new("git")
            .args(["-c", "user.name=Bench", "-c", "user.email=bench@localhost"])
            .args(["-c", "gc.auto=0"])
            .args(args)
            .current_dir(&self.path)
            .env("HOME", self.folder.path())
            .status();
        assert!(done.expect("git runs").success(), "git {args:?}");
    }

    /// What a shell script would do. The file's own time does not count.
    fn by_hand(&self, number: usize) -> Duration {
        let begun = Instant::now();
        self.git(&["status", "--porcelain"]);
        self.git(&["switch", "-q", "-c", &format!("task{number}")]);
        let before = begun.elapsed();
        write_one(&self.path, number);
        let begun = Instant::now();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "a task"]);
        self.git(&["push", "-q", "-u", "origin", &format!("task{number}")]);
        before + begun.elapsed()
    }
}

fn write_one(directory: &Path, number: usize) {
    std::fs::write(directory.join(format!("src/task{number}.rs")), "// done\n").expect("a file");
}

struct Rig {
    queue: MemoryQueue,
    deps: SystemDeps,
    last: Arc<Mutex<Option<Metrics>>>,
}

impl Rig {
    fn new(repository: &Repository) -> Self {
        let environment = ["PATH"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .chain([(
                "HOME".to_owned(),
                repository.folder.path().display().to_string(),
            )])
            .collect();
        let lock = repository.folder.path().join("session-git.lock");
        let mut config = GitConfig::new(&repository.path, environment, ORCHESTRATOR, lock);
        config.identity = Some(Identity {
            name: "Bench".to_owned(),
            email: "bench@localhost".to_owned(),
        });
        let queue = MemoryQueue::new(0);
        let last = Arc::<Mutex<Option<Metrics>>>::default();
        let heard = last.clone();
        let deps = SystemDeps {
            queue: Arc::new(queue.clone()),
            runner: Arc::new(Writer),
            git: Arc::new(GitCli::new(config)),
            journal: Arc::new(FileJournal::at(repository.folder.path().join("task.json"))),
            clock: Arc::new(SystemClock),
            listener: Some(Arc::new(move |progress| {
                if let Progress::Done { metrics, .. } = progress {
                    *heard.lock().expect("nobody panics") = Some(metrics);
                }
            })),
        };
        Self { queue, deps, last }
    }

    async fn task(&self, number: usize) -> Metrics {
        self.queue.add_tasks([format!("write task {number}")]);
        let settings = LoopSettings::default();
        let end = run_loop(&self.deps, &settings, CancellationToken::new()).await;
        assert_eq!(end, LoopEnd::Stopped);
        let last = self.last.lock().expect("nobody panics").take();
        last.expect("the task is done")
    }
}

/// Whose work takes no time.
struct Writer;

impl Runner for Writer {
    fn run(
        &self,
        assignment: Assignment,
        _: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let number = assignment.description.rsplit(' ').next();
        let number = number.and_then(|number| number.parse().ok());
        write_one(&assignment.directory, number.expect("a number"));
        Box::pin(async { Ok(RunReport::default()) })
    }
}
