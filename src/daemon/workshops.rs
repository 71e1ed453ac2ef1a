//! What tasks are done with on this machine: which assistant does them, in which repository, under which lease. Only this
//! file knows what stands behind the ports of the task loop.
//!
//! Who does the tasks is looked up for every task, so that a Goose which is installed meanwhile is used. Where nothing is said,
//! it is Goose if there is one with a key for its provider, else the OpenCode that the chats use; whoever has said
//! `goose` gets no other: without it tasks wait, with the reason.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orchestrator_actors::domain::ids::WorkerId;
use orchestrator_actors::domain::task::{
    Class, Failure, GitIsolation, GooseSettings, Patience, RunnerKind, TaskSettings,
};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{
    Assignment, Held, RunReport, Runner, Site, TaskJournal, Workshop, Workshops,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::adapters::git::{CallLock, GitCli, GitConfig, Identity, Isolation};
use crate::adapters::goose::{GooseConfig, GooseRunner};
use crate::adapters::oneshot::{Common, Limits};
use crate::adapters::opencode::task::{OpenCodeTaskConfig, OpenCodeTaskRunner};
use crate::adapters::opencode::{HermeticSettings, Room};
use crate::adapters::process::directories::Directories;
use crate::adapters::process::marker::file_key;
use crate::adapters::process::{environment, own_binary};
use crate::adapters::tasks::FileJournal;
use crate::adapters::tools::{self, Search, State};
use crate::config::env;
use crate::daemon::task_directory::TaskDirectory;

/// Of the text that stands before every task.
const MOST_INSTRUCTIONS: u64 = 64 * 1024;
/// Between the two limits of a run.
const GRACE: Duration = Duration::from_secs(30);
/// The key's variable of providers that are known to need one.
const KEYS: [(&str, &str); 4] = [
    ("openrouter", "OPENROUTER_API_KEY"),
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("openai", "OPENAI_API_KEY"),
    ("google", "GOOGLE_API_KEY"),
];

/// What all workers' tasks share.
pub(super) struct TaskWorkshops {
    shared: Arc<Shared>,
    /// One for each worker that ever had a task: successors wait for what a predecessor still writes.
    journals: Mutex<BTreeMap<WorkerId, FileJournal>>,
}

pub(super) struct Shared {
    /// Where assistants are looked for.
    pub search: Search,
    pub opencode: PathBuf,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    /// Work trees of tasks, a folder for each worker.
    pub trees: PathBuf,
    pub env_passthrough: Vec<String>,
    /// With `--demo`.
    pub hermetic: Option<HermeticSettings>,
    pub room: Room,
    pub directories: Directories,
}

impl TaskWorkshops {
    pub fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            journals: Mutex::default(),
        }
    }

    fn journal(&self, worker: &WorkerId) -> FileJournal {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || FileJournal::at(journal_path(&self.shared, worker));
        journals.entry(worker.clone()).or_insert_with(made).clone()
    }
}

fn journal_path(shared: &Shared, worker: &WorkerId) -> PathBuf {
    let name = format!("{}.json", file_key(worker.as_str()));
    shared.state_dir.join("tasks").join(name)
}

impl Workshops for TaskWorkshops {
    fn open(&self, site: &Site) -> Workshop {
        let shared = &self.shared;
        Workshop {
            runner: Arc::new(Chosen {
                shared: shared.clone(),
                settings: site.settings.clone(),
            }),
            git: Arc::new(GitCli::new(git_config(shared, site))),
            journal: Arc::new(self.journal(&site.worker)) as Arc<dyn TaskJournal>,
            directory: Arc::new(TaskDirectory {
                locks: shared.run_dir.join("locks"),
                place: site.directory.as_path().to_owned(),
                directories: shared.directories.clone(),
                has_own_trees: site.settings.git.isolation == GitIsolation::Worktree,
                state_dir: shared.state_dir.clone(),
                run_dir: shared.run_dir.clone(),
            }),
        }
    }

    fn has_left(&self, worker: &WorkerId) -> Pending<bool> {
        let path = journal_path(&self.shared, worker);
        Box::pin(async move { tokio::fs::try_exists(path).await.unwrap_or(true) })
    }
}

fn git_config(shared: &Shared, site: &Site) -> GitConfig {
    let settings = &site.settings.git;
    let directory = site.directory.as_path();
    let ours = environment::ours().into_iter().collect();
    let locks = CallLock::OfWorkTree(shared.run_dir.join("locks"));
    let mut config = GitConfig::new(directory, ours, own_binary(), locks);
    config.identity = settings.user.as_ref().map(|user| Identity {
        name: user.name.clone(),
        email: user.email.clone(),
    });
    config.isolation = match settings.isolation {
        GitIsolation::Off => Isolation::Off,
        GitIsolation::Config => Isolation::Config,
        GitIsolation::Worktree => {
            Isolation::Worktree(shared.trees.join(file_key(site.worker.as_str())))
        }
    };
    config.push = settings.push;
    config.in_sync = settings.push;
    config
}

/// Whoever does the task at hand.
struct Chosen {
    shared: Arc<Shared>,
    settings: Arc<TaskSettings>,
}

impl Runner for Chosen {
    fn run(
        &self,
        mut assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let (shared, settings) = (self.shared.clone(), self.settings.clone());
        Box::pin(async move {
            let missing = |why: String| Failure::new(Class::Missing, why);
            let (looked, by) = (shared.clone(), settings.clone());
            let chosen = tokio::task::spawn_blocking(move || {
                Ok((choose(&looked, &by)?, instructions(&by)?))
            });
            let chosen = chosen.await.map_err(|error| missing(error.to_string()))?;
            let (runner, instructions) = chosen.map_err(missing)?;
            if let Some(instructions) = instructions {
                assignment.description = format!("{instructions}\n\n{}", assignment.description);
            }
            runner.run(assignment, abort).await
        })
    }

    fn place(&self) -> Pending<Held> {
        let room = self.shared.room.clone();
        Box::pin(async move { Box::new(room.wait().await) as Held })
    }

    fn ready(&self) -> Pending<Result<(), String>> {
        let (shared, settings) = (self.shared.clone(), self.settings.clone());
        Box::pin(async move {
            let looked = tokio::task::spawn_blocking(move || {
                instructions(&settings)?;
                choose(&shared, &settings).map(drop)
            });
            looked.await.map_err(|error| error.to_string())?
        })
    }
}

/// What stands before every task, if something does.
fn instructions(settings: &TaskSettings) -> Result<Option<String>, String> {
    let goose = settings.goose.as_ref();
    let Some(path) = goose.and_then(|goose| goose.instructions_file.as_ref()) else {
        return Ok(None);
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MOST_INSTRUCTIONS + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(format!(
            "goose.instructions_file {}: {error}",
            path.display()
        )),
        Ok(count) if count as u64 > MOST_INSTRUCTIONS => Err(format!(
            "goose.instructions_file {} is longer than {MOST_INSTRUCTIONS} bytes",
            path.display()
        )),
        Ok(_) => Ok(Some(text.trim_end().to_owned())),
    }
}

/// Who does tasks under these settings, or why nobody does.
fn choose(shared: &Shared, settings: &TaskSettings) -> Result<Box<dyn Runner>, String> {
    let kind = settings.runner;
    let goose_is_meant = kind == Some(RunnerKind::Goose) || settings.goose.is_some();
    if kind == Some(RunnerKind::OpenCode) {
        return Ok(opencode(shared, settings));
    }
    match goose(shared, settings) {
        Ok(goose) => Ok(goose),
        Err(why) if goose_is_meant => Err(why),
        Err(_) => Ok(opencode(shared, settings)),
    }
}

fn goose(shared: &Shared, settings: &TaskSettings) -> Result<Box<dyn Runner>, String> {
    let tools = tools::glance(&shared.search, &[]);
    let goose = tools.into_iter().find(|tool| tool.name == "goose");
    let binary = match goose.map(|tool| tool.state) {
        Some(State::Found { path, .. }) => path,
        Some(State::Broken { path, reason, .. }) => {
            return Err(format!("goose at {} is broken: {reason}", path.display()));
        }
        Some(State::Absent) | None => {
            return Err(format!(
                "goose is not installed here: install it, name it in {}, or set `task_runner` to `opencode`",
                env::GOOSE_BIN
            ));
        }
    };
    let none = GooseSettings::default();
    let said = settings.goose.as_ref().unwrap_or(&none);
    let ours: BTreeMap<String, String> = environment::ours().into_iter().collect();
    let mut config = GooseConfig::new(common(shared, settings, binary), ours);
    config.env_passthrough.clone_from(&shared.env_passthrough);
    if let Some(provider) = env::get(env::GOOSE_PROVIDER).or_else(|| said.provider.clone()) {
        config.provider = provider;
    }
    if let Some(model) = env::get(env::GOOSE_MODEL).or_else(|| said.model.clone()) {
        config.model = model;
    }
    if let Some(turns) = said.max_turns {
        config.max_turns = turns;
    }
    if let Some(hermetic) = &shared.hermetic {
        scripted(&mut config, hermetic);
    }
    let key = KEYS
        .iter()
        .find(|(provider, _)| *provider == config.provider);
    if let Some((provider, variable)) = key
        && shared.hermetic.is_none()
        && config
            .environment
            .get(*variable)
            .is_none_or(String::is_empty)
    {
        return Err(format!(
            "goose has no key for {provider}: set {variable} in the supervisor's environment"
        ));
    }
    Ok(Box::new(GooseRunner::new(config)))
}

/// The demo's model in the place of every other.
fn scripted(config: &mut GooseConfig, hermetic: &HermeticSettings) {
    let host = hermetic.model_base_url.trim_end_matches("/v1");
    "openai".clone_into(&mut config.provider);
    "scripted".clone_into(&mut config.model);
    config.keys = BTreeMap::from([(
        "OPENAI_API_KEY".to_owned(),
        SecretString::from("sk-scripted"),
    )]);
    let lower = |name: &str| name.to_ascii_lowercase();
    config
        .environment
        .retain(|name, _| !lower(name).ends_with("_proxy") && !name.ends_with("_API_KEY"));
    config.settings = BTreeMap::from([
        ("OPENAI_HOST".to_owned(), host.to_owned()),
        ("GOOSE_PROVIDER_SKIP_BACKOFF".to_owned(), "true".to_owned()),
    ]);
}

fn opencode(shared: &Shared, settings: &TaskSettings) -> Box<dyn Runner> {
    Box::new(OpenCodeTaskRunner::new(OpenCodeTaskConfig {
        common: common(shared, settings, shared.opencode.clone()),
        environment: environment::ours().into_iter().collect(),
        env_passthrough: shared.env_passthrough.clone(),
        model: None,
        hermetic: shared.hermetic.clone(),
    }))
}

fn common(shared: &Shared, settings: &TaskSettings, binary: PathBuf) -> Common {
    let mut limits = Limits::default();
    let said = settings.goose.as_ref();
    if let Some(ms) = said.and_then(|goose| goose.process_timeout_ms) {
        limits.process = Duration::from_millis(ms);
        limits.hard = limits.process + GRACE;
    }
    Common {
        binary,
        limits,
        patience: Patience::RUN,
        state_dir: shared.state_dir.clone(),
        run_dir: shared.run_dir.clone(),
        warden: own_binary(),
    }
}

/// Where tasks' work trees lie.
pub(super) fn trees(data: &Path) -> PathBuf {
    data.join("worktrees")
}
