//! A loop over a real repository: with a runner that only writes files (it exists in tests only), or with the real Goose
//! under the scripted model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator::adapters::clock::SystemClock;
use orchestrator::adapters::git::GitCli;
use orchestrator::adapters::goose::{GooseConfig, GooseRunner};
use orchestrator::adapters::oneshot::{Common, Limits};
use orchestrator::adapters::tasks::{FileJournal, SystemDeps};
use orchestrator_actors::domain::task::{Class, Failure, Patience};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::git::Git;
use orchestrator_actors::ports::tasks::{Assignment, LoopEnd, RunReport, Runner};
use orchestrator_actors::tasks::{LoopSettings, MemoryQueue, Progress, run_loop};
use orchestrator_test_support::Model;
use tokio_util::sync::CancellationToken;

use crate::repository::{Repository, orchestrator, put};

/// Writes a file for each task instead of asking anybody.
#[derive(Clone, Default)]
pub struct FileSystemRunner {
    /// Tasks whose work cannot be committed, and how often: there is a repository without a commit in it.
    pub unfit: Arc<Mutex<BTreeMap<String, u32>>>,
    /// Tasks that fail, and how often.
    pub failing: Arc<Mutex<BTreeMap<String, u32>>>,
    pub runs: Arc<Mutex<Vec<String>>>,
}

impl Runner for FileSystemRunner {
    fn run(
        &self,
        assignment: Assignment,
        _: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let name = assignment
            .description
            .split_whitespace()
            .next_back()
            .unwrap_or("task")
            .to_owned();
        put(
            &assignment.directory.join(format!("src/{name}.rs")),
            &assignment.description,
        );
        let readme = assignment.directory.join("README.md");
        let text = std::fs::read_to_string(&readme).unwrap_or_default();
        put(&readme, &format!("{text}- {}\n", assignment.description));
        self.runs
            .lock()
            .unwrap()
            .push(assignment.description.clone());
        if take_one(&self.unfit, &assignment.description) {
            let nested = assignment.directory.join("nested");
            let mut git = std::process::Command::new("git");
            assert!(
                git.args(["init", "-q"])
                    .arg(nested)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let fails = take_one(&self.failing, &assignment.description);
        Box::pin(async move {
            if fails {
                return Err(Failure::new(Class::Assistant, "it gave up"));
            }
            Ok(RunReport::default())
        })
    }
}

fn take_one(counts: &Mutex<BTreeMap<String, u32>>, task: &str) -> bool {
    let mut counts = counts.lock().unwrap();
    let Some(left) = counts.get_mut(task).filter(|left| **left > 0) else {
        return false;
    };
    *left -= 1;
    true
}

pub struct Stage {
    pub repository: Repository,
    pub queue: MemoryQueue,
    pub deps: SystemDeps,
    pub progress: Arc<Mutex<Vec<Progress>>>,
    pub settings: LoopSettings,
    pub stop: CancellationToken,
    pub model: Option<Model>,
}

impl Stage {
    pub fn with_files(tasks: &[&str], runner: &FileSystemRunner) -> Self {
        let repository = Repository::new();
        let git = Arc::new(repository.cli());
        Self::of(repository, tasks, Arc::new(runner.clone()), git)
    }

    /// The real Goose and the scripted model.
    pub async fn with_goose(tasks: &[&str], change: impl FnOnce(&mut GooseConfig)) -> Self {
        let goose = tokio::task::spawn_blocking(orchestrator_test_support::goose);
        let goose = goose.await.unwrap();
        let model = Model::start(&orchestrator().display().to_string());
        let repository = Repository::new();
        let mut config = goose_config(&repository, goose, &model.url());
        change(&mut config);
        let git = Arc::new(repository.cli());
        let mut stage = Self::of(repository, tasks, Arc::new(GooseRunner::new(config)), git);
        stage.model = Some(model);
        stage
    }

    pub fn of(
        repository: Repository,
        tasks: &[&str],
        runner: Arc<dyn Runner>,
        git: Arc<GitCli>,
    ) -> Self {
        let queue = MemoryQueue::new(2);
        queue.add_tasks(tasks.iter().copied());
        let progress = Arc::<Mutex<Vec<Progress>>>::default();
        let heard = progress.clone();
        let deps = SystemDeps {
            queue: Arc::new(queue.clone()),
            runner,
            git: git as Arc<dyn Git>,
            journal: Arc::new(FileJournal::at(
                repository.folder.path().join("state/task.json"),
            )),
            clock: Arc::new(SystemClock),
            listener: Some(Arc::new(move |one| heard.lock().unwrap().push(one))),
        };
        let settings = LoopSettings {
            pause: Duration::from_millis(10),
            ..LoopSettings::default()
        };
        Self {
            repository,
            queue,
            deps,
            progress,
            settings,
            stop: CancellationToken::new(),
            model: None,
        }
    }

    pub async fn run(&self) -> LoopEnd {
        run_loop(&self.deps, &self.settings, self.stop.clone()).await
    }

    /// The classes of the failures that the queue heard of.
    pub fn failures(&self) -> Vec<Class> {
        use orchestrator_actors::ports::tasks::Acknowledgement::Failed;
        let said = self.queue.acknowledged();
        let failed = said.into_iter().filter_map(|one| match one.what {
            Failed(failure) => Some(failure.class),
            _ => None,
        });
        failed.collect()
    }

    /// Processes that carry this stage's folder in their environment.
    pub fn left(&self) -> usize {
        let wanted = self
            .repository
            .folder
            .path()
            .canonicalize()
            .unwrap()
            .display()
            .to_string();
        let has = |entry: &std::fs::DirEntry| {
            std::fs::read(entry.path().join("environ"))
                .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(&wanted))
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(has)
            .count()
    }
}

pub fn goose_config(repository: &Repository, binary: PathBuf, model: &str) -> GooseConfig {
    let folder = repository.folder.path().canonicalize().unwrap();
    let mut environment = repository.environment();
    environment.insert(
        "OPENAI_API_KEY".to_owned(),
        "sk-a-key-that-nobody-may-see".to_owned(),
    );
    environment.insert(
        "WORKER_TOKEN".to_owned(),
        "machine_a:worker_b:secret_c".to_owned(),
    );
    environment.insert("HOME".to_owned(), folder.join("home").display().to_string());
    let mut config = GooseConfig::new(common(&folder, binary), environment);
    config.provider = "openai".to_owned();
    config.model = "scripted".to_owned();
    config.settings = BTreeMap::from([
        ("OPENAI_HOST".to_owned(), model.to_owned()),
        ("GOOSE_PROVIDER_SKIP_BACKOFF".to_owned(), "true".to_owned()),
    ]);
    config.max_turns = 5;
    config
}

pub fn common(folder: &Path, binary: PathBuf) -> Common {
    std::fs::create_dir_all(folder.join("state")).unwrap();
    std::fs::create_dir_all(folder.join("run/locks")).unwrap();
    Common {
        binary,
        limits: Limits {
            process: Duration::from_mins(1),
            hard: Duration::from_secs(70),
            ..Limits::default()
        },
        patience: Patience::NONE,
        state_dir: folder.join("state"),
        run_dir: folder.join("run"),
        warden: orchestrator(),
    }
}
