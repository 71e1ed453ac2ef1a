//! The assistants of a supervisor: a compatible OpenCode is found or installed, what a dead supervisor left running is
//! ended, and with `--demo` the scripted model is started and put under it. Only this file knows which assistant it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::WorkerId;
use orchestrator_actors::machine::Stores;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::Agents;
use orchestrator_actors::ports::role::Roles;
use orchestrator_actors::ports::tasks::Workshops;
use serde::Deserialize;
use tracing::{info, warn};

use super::announce::{Announce, Progress};
use super::error::RunError;
use super::options::{Mode, RunOptions};
use super::state_file::DaemonFile;
use super::workshops::{self, TaskWorkshops};
use crate::adapters::opencode::install::{self, Found, InstallError, Search, find_or_install};
use crate::adapters::opencode::{HermeticSettings, OpenCodeAgents, OpenCodeConfig, PINNED_VERSION};
use crate::adapters::process::companion::Companion;
use crate::adapters::process::{leftovers, memory_bytes, own_binary};
use crate::adapters::roles::{RoleConfig, ToolRoles};
use crate::adapters::tools;
use crate::config::env;
use crate::config::{Limits, Paths};
use crate::model::MODEL_ARGUMENT;

/// The model listens and says so within this.
const MODEL_START: Duration = Duration::from_secs(10);
/// How often a running installation is looked at.
const LOOK: Duration = Duration::from_millis(250);

const MEGABYTE: u64 = 1024 * 1024;
/// An OpenCode begins with 400 MB and has about 700 after some turns; what is far beyond has a leak.
const MAX_MEMORY_MB: usize = 1536;
/// What one assistant takes on the average, and what the rest of the machine needs.
const ASSISTANT: u64 = 512 * MEGABYTE;
const RESERVED: u64 = 2048 * MEGABYTE;
const MOST_ROOM: usize = 64;
const ROOM_WHEN_UNKNOWN: usize = 8;

/// Ready to be used by the tree.
pub(super) struct Assistants {
    agents: Arc<OpenCodeAgents>,
    roles: Arc<ToolRoles>,
    workshops: Arc<TaskWorkshops>,
    model: Option<Companion>,
    /// Sees off what a dead supervisor left, and keeps the folders small.
    tidying: tokio::task::JoinHandle<()>,
}

/// What tells a command of ours, wherever it is started and in whatever HOME, which installation it belongs to.
fn own_files(paths: &Paths) -> BTreeMap<String, String> {
    let files = [
        (env::CONFIG, &paths.workers_file),
        (env::CONFIG_DIR, &paths.config),
        (env::STATE_DIR, &paths.state),
        (env::DATA_DIR, &paths.data),
    ];
    files
        .into_iter()
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .collect()
}

impl Assistants {
    /// Finds or installs, sweeps, starts the scripted model if it is wanted. While it installs, `file` says so to other
    /// commands.
    pub async fn ready(
        options: &RunOptions,
        announce: &dyn Announce,
        file: &DaemonFile,
    ) -> Result<Self, RunError> {
        let found = find(options, announce, file).await?;
        info!(binary = %found.binary.display(), version = found.version, "opencode");
        let mut folder = options.paths.agents().join("opencode");
        let mut hermetic = None;
        let mut model = None;
        if options.demo {
            let (url, companion) = scripted_model().await?;
            model = companion;
            // Demo answers never mix with real ones: another store, and a home of its own.
            folder = options.paths.agents().join("demo");
            hermetic = Some(HermeticSettings::new(folder.join("home"), url));
        }
        let mut search = tools::Search::from_environment(&options.paths);
        // What chats use is what a role's OpenCode is, whether or not it is on the PATH.
        search
            .named
            .insert("opencode".to_owned(), found.binary.clone());
        let opencode = found.binary.clone();
        let mut config = OpenCodeConfig::new(
            found.binary,
            folder,
            options.paths.state.join("run"),
            options.paths.state.clone(),
        );
        config.hermetic.clone_from(&hermetic);
        if let Some(limit) = options.boot {
            config.deadlines.listening = limit;
        }
        limit(&mut config, options.limits);
        if let Mode::Workers(loaded) = &options.mode {
            config
                .env_passthrough
                .clone_from(&loaded.config.env_passthrough);
        }
        let env_passthrough = config.env_passthrough.clone();
        let made = tokio::task::spawn_blocking(move || {
            let agents = OpenCodeAgents::new(config)?;
            // The instance lock is held: whoever left something is dead.
            let left = leftovers::end(&agents.traces());
            Ok::<_, std::io::Error>((agents, left))
        });
        let (agents, (swept, wardens)) = made
            .await
            .map_err(|error| RunError::Setup(error.to_string()))?
            .map_err(|error| RunError::Setup(format!("cannot prepare the assistants: {error}")))?;
        if swept > 0 {
            info!(swept, "ended what a killed supervisor had left");
        }
        let traces = agents.traces();
        let tidying = tokio::spawn(async move {
            leftovers::see_off(traces.clone(), wardens).await;
            leftovers::tidy(traces.locks).await;
        });
        let workshops = TaskWorkshops::new(workshops::Shared {
            search: search.clone(),
            opencode,
            state_dir: options.paths.state.clone(),
            run_dir: options.paths.state.join("run"),
            trees: workshops::trees(&options.paths.data),
            env_passthrough: env_passthrough.clone(),
            hermetic: hermetic.clone(),
            room: agents.room(),
            directories: agents.directories(),
        });
        let roles = ToolRoles::new(RoleConfig {
            search,
            traces: agents.traces(),
            env_passthrough,
            room: agents.room(),
            hermetic,
            own: own_files(&options.paths),
        });
        Ok(Self {
            agents: Arc::new(agents),
            roles: Arc::new(roles),
            workshops: Arc::new(workshops),
            model,
            tidying,
        })
    }

    pub fn agents(&self) -> Arc<dyn Agents> {
        Arc::clone(&self.agents) as _
    }

    /// Assistants of any kind, for what owners ask from afar.
    pub fn roles(&self) -> Arc<dyn Roles> {
        Arc::clone(&self.roles) as _
    }

    /// What tasks are done with.
    pub fn workshops(&self) -> Arc<dyn Workshops> {
        Arc::clone(&self.workshops) as _
    }

    /// For what people ask about one of them.
    pub fn opencode(&self) -> Arc<OpenCodeAgents> {
        Arc::clone(&self.agents)
    }

    pub fn stores(&self) -> Arc<dyn Stores> {
        Arc::new(OpenCodeStores(Arc::clone(&self.agents)))
    }

    /// After the tree: nobody asks the model any more.
    pub async fn stop(self) {
        self.tidying.abort();
        if let Some(model) = self.model {
            model.stop().await;
        }
    }
}

fn limit(config: &mut OpenCodeConfig, limits: Limits) {
    config.most_children = limits
        .max_assistants
        .unwrap_or_else(|| room_for(memory_bytes()));
    if let Some(starting) = limits.max_starting {
        config.boot_slots = starting;
    }
    let megabytes = limits.max_memory_mb.unwrap_or(MAX_MEMORY_MB) as u64;
    config.most_memory = megabytes * MEGABYTE;
}

/// How many assistants a machine with so much memory has room for.
fn room_for(memory: Option<u64>) -> usize {
    let Some(memory) = memory else {
        return ROOM_WHEN_UNKNOWN;
    };
    let room = memory.saturating_sub(RESERVED) / ASSISTANT;
    usize::try_from(room)
        .unwrap_or(MOST_ROOM)
        .clamp(2, MOST_ROOM)
}

struct OpenCodeStores(Arc<OpenCodeAgents>);

impl Stores for OpenCodeStores {
    fn store_id(&self, worker: &WorkerId) -> Pending<Result<String, String>> {
        let (agents, worker) = (self.0.clone(), worker.clone());
        Box::pin(async move {
            let of = worker.clone();
            let read = tokio::task::spawn_blocking(move || agents.store_id(&of)).await;
            let named = read.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
            named.map_err(|error| format!("cannot use the store of worker {worker}: {error}"))
        })
    }
}

async fn find(
    options: &RunOptions,
    announce: &dyn Announce,
    file: &DaemonFile,
) -> Result<Found, RunError> {
    let mut search = Search::from_environment(&options.paths.data);
    if options.opencode.is_some() {
        search.named.clone_from(&options.opencode);
    }
    let folder = options.paths.agents().join("opencode/.installing");
    let progress = |step| {
        let progress = match step {
            install::Progress::Waiting => {
                Progress::Installing("waiting for another installation of opencode".to_owned())
            }
            install::Progress::Installing => Progress::Installing(format!(
                "opencode {PINNED_VERSION} not found: installing the pinned version with npm"
            )),
            install::Progress::Installed => Progress::Installed,
        };
        if let Progress::Installing(what) = &progress {
            say_what_it_waits_for(options, file, what);
        }
        announce.progress(progress);
    };
    let mut finding = std::pin::pin!(find_or_install(&search, progress));
    loop {
        tokio::select! {
            found = &mut finding => return found.map_err(missing),
            () = tokio::time::sleep(LOOK) => {
                let folder = folder.clone();
                let size = tokio::task::spawn_blocking(move || size_of(&folder)).await;
                if let Ok(bytes @ 1..) = size {
                    announce.progress(Progress::Bytes(bytes));
                }
            }
        }
    }
}

/// Nobody listens yet: other commands read it in the state file.
fn say_what_it_waits_for(options: &RunOptions, file: &DaemonFile, what: &str) {
    let told = DaemonFile {
        starting: Some(what.to_owned()),
        ..file.clone()
    };
    if let Err(error) = told.write_or_make_room(&options.paths.daemon_file()) {
        warn!(%error, "cannot write the state file");
    }
}

fn missing(error: InstallError) -> RunError {
    match error {
        InstallError::Io { .. } => RunError::Setup(error.to_string()),
        InstallError::NpmMissing | InstallError::Named { .. } | InstallError::Npm(_) => {
            RunError::AssistantMissing(error.to_string())
        }
    }
}

/// The bytes below a folder, for a progress bar; what vanishes meanwhile counts nothing.
fn size_of(folder: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut total = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => total += meta.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// The address of a scripted model: one of our own as a companion process, or the one that is named.
async fn scripted_model() -> Result<(String, Option<Companion>), RunError> {
    #[derive(Deserialize)]
    struct Ready {
        url: String,
    }
    if let Some(url) = env::get(env::DEMO_MODEL) {
        return Ok((base_url(&url), None));
    }
    let failed = |reason: String| {
        RunError::Setup(format!("the scripted model could not be started: {reason}"))
    };
    let companion = Companion::start(&own_binary(), &[MODEL_ARGUMENT], MODEL_START)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let ready: Ready =
        serde_json::from_str(companion.first_line()).map_err(|error| failed(error.to_string()))?;
    Ok((base_url(&ready.url), Some(companion)))
}

/// Providers are configured with the `/v1` in their address.
fn base_url(url: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with("/v1") {
        url.to_owned()
    } else {
        format!("{url}/v1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_address_is_taken_with_and_without_its_version() {
        assert_eq!(base_url("http://127.0.0.1:1"), "http://127.0.0.1:1/v1");
        assert_eq!(base_url("http://127.0.0.1:1/v1/"), "http://127.0.0.1:1/v1");
    }

    #[test]
    fn small_and_large_machines_get_a_sensible_number_of_assistants() {
        let gigabytes = |count: u64| Some(count * 1024 * MEGABYTE);
        assert_eq!(room_for(gigabytes(1)), 2);
        assert_eq!(room_for(gigabytes(8)), 12);
        assert_eq!(room_for(gigabytes(512)), MOST_ROOM);
        assert_eq!(room_for(None), ROOM_WHEN_UNKNOWN);
    }

    #[test]
    fn an_installation_is_measured_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/x"), "12345").unwrap();
        std::fs::write(folder.path().join("y"), "67").unwrap();
        assert_eq!(size_of(folder.path()), 7);
        assert_eq!(size_of(&folder.path().join("none")), 0);
    }

    #[test]
    fn a_command_in_the_demos_home_finds_the_files_of_this_installation() {
        let resolve = |pairs: &BTreeMap<String, String>| {
            let find = |name: &str| pairs.get(name).map(PathBuf::from);
            let (config, state) = (find(env::CONFIG), find(env::STATE_DIR));
            Paths::resolve(&find, config.as_deref(), state.as_deref()).unwrap()
        };
        let ours = resolve(&BTreeMap::from([(
            "HOME".to_owned(),
            "/home/me".to_owned(),
        )]));
        let mut env = BTreeMap::new();
        HermeticSettings::new("/demo/home", "http://127.0.0.1:1/v1").apply(&mut env);
        env.extend(own_files(&ours));
        let theirs = resolve(&env);
        assert_eq!(theirs.home, PathBuf::from("/demo/home"));
        assert_eq!(theirs.machine_file(), ours.machine_file());
        assert_eq!(theirs.local(), ours.local());
        assert_eq!(theirs.owner_key(), ours.owner_key());
        assert_eq!(theirs.daemon_file(), ours.daemon_file());
        assert_eq!(theirs.workers_file, ours.workers_file);
    }
}
