//! OpenCode behind the [`Agents`] port: one server process per session, under a warden, on loopback, with a random password.
//!
//! [`OpenCodeAgents::open`] takes one of the machine's [`places`] and the lease, sweeps, starts ([`boot`]) and waits until
//! OpenCode really answers ([`ready`]); from then on [`health`] sees to it that it still does. The
//! [`agent`] hands prompts over under ids that follow from the turn ([`ids`]), the [`pump`] beside it turns OpenCode's event
//! stream ([`sse`], [`wire`]) into ours by a pure [`reducer`], what it asks its owner by [`asking`], and [`stored`] judges what the store says about a turn.
//! [`reach`] knows where the living ones are, for whoever wants to look into one; [`models`] asks what models there are.
//! [`install`] finds a compatible OpenCode or installs the pinned one. Nothing here knows a deployment.

mod agent;
mod api;
mod asking;
mod boot;
mod choices;
mod content;
mod files;
mod first_boot;
mod health;
mod ids;
pub mod install;
mod misconfigured;
mod models;
mod places;
mod pump;
mod queue;
mod reach;
mod ready;
mod reducer;
mod settings;
mod sse;
mod stored;
pub mod task;
mod told;
mod wire;

pub use choices::{Choices, Learned};
pub use models::Model;
pub use places::{RolePlace, Room};
pub use reach::Reach;
pub use settings::HermeticSettings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{SessionId, WorkerDir, WorkerId};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{AgentError, Agents, OpenSpec, Opened};
use tokio::sync::Semaphore;

use crate::adapters::process::directories::Directories;
use crate::adapters::process::journal::Journal;
use crate::adapters::process::leftovers::Places;
use crate::adapters::process::marker::MarkerPrefix;
use crate::adapters::process::private_folder;

/// The version that is installed when the machine has no compatible one.
pub const PINNED_VERSION: &str = "1.18.33";

/// Whether we can drive this version: 1.18.x from 1.18.33 on.
pub fn is_compatible(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').splitn(3, '.');
    let mut next = || {
        let digits: String = numbers
            .next()?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<u32>().ok()
    };
    matches!((next(), next(), next()), (Some(1), Some(18), Some(patch)) if patch >= 33)
}

/// Where things are, and which rules hold.
#[derive(Clone, Debug)]
pub struct OpenCodeConfig {
    /// OpenCode's own executable, not npm's shim; see [`install::find_or_install`].
    pub binary: PathBuf,
    /// `workers/<worker>/` below it holds each worker's OpenCode database.
    pub data_dir: PathBuf,
    /// Locks and temporary folders.
    pub run_dir: PathBuf,
    /// The supervisor's state folder: the child journal, and what the markers are named after.
    pub state_dir: PathBuf,
    /// The binary that becomes the warden.
    pub warden: PathBuf,
    /// For `--demo` and tests.
    pub hermetic: Option<HermeticSettings>,
    /// Further environment variables that OpenCode may see (patterns).
    pub env_passthrough: Vec<String>,
    /// How many boots may run at once.
    pub boot_slots: usize,
    /// How many OpenCodes may live at once, whatever their worker.
    pub most_children: usize,
    /// Resident memory in bytes above which an OpenCode is replaced as soon as no turn needs it.
    pub most_memory: u64,
    pub deadlines: Deadlines,
}

impl OpenCodeConfig {
    pub fn new(
        binary: impl Into<PathBuf>,
        data_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
        state_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            binary: binary.into(),
            data_dir: data_dir.into(),
            run_dir: run_dir.into(),
            state_dir: state_dir.into(),
            warden: crate::adapters::process::own_binary(),
            hermetic: None,
            env_passthrough: Vec::new(),
            boot_slots: 2,
            most_children: usize::MAX,
            most_memory: u64::MAX,
            deadlines: Deadlines::default(),
        }
    }

    fn locks(&self) -> PathBuf {
        self.run_dir.join("locks")
    }

    /// All sessions' temporary folders.
    fn temporary(&self) -> PathBuf {
        self.run_dir.join("tmp")
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the lease of a session whose last owner is just ending.
    pub lease: Duration,
    /// From the start of the process to its "listening" line.
    pub listening: Duration,
    /// From there to a good configuration and an open event stream.
    pub ready: Duration,
    /// An event stream that says nothing for longer is made again; OpenCode's heartbeat comes every 10 s.
    pub silence: Duration,
    /// An event stream that says nothing for longer is a reason to ask for OpenCode's health.
    pub probe: Duration,
    /// For the answer to that; some in a row without one are a hang.
    pub probe_answer: Duration,
    /// A start that the machine has too little of something for is tried again for this long.
    pub shortage: Duration,
    /// From a prompt to the proof that it arrived.
    pub arrival: Duration,
    /// For OpenCode to end its turns by itself, on a planned stop.
    pub ask: Duration,
    /// From TERM to KILL, on a planned stop.
    pub term: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            listening: Duration::from_secs(20),
            ready: Duration::from_secs(10),
            silence: Duration::from_secs(25),
            probe: Duration::from_secs(15),
            probe_answer: Duration::from_secs(5),
            shortage: Duration::from_mins(1),
            arrival: Duration::from_secs(5),
            ask: Duration::from_secs(2),
            term: Duration::from_secs(2),
        }
    }
}

/// Starts OpenCodes.
#[derive(Clone)]
pub struct OpenCodeAgents {
    shared: Arc<Shared>,
}

/// Where a supervisor's children leave their traces, by the canonical path of its state folder: for whoever comes after it.
pub fn traces_of(state: &std::path::Path) -> Places {
    let run = state.join("run");
    Places {
        journal: Journal::in_state_folder(state),
        prefix: MarkerPrefix::of_state_folder(state),
        locks: run.join("locks"),
        temporary: run.join("tmp"),
    }
}

struct Shared {
    config: OpenCodeConfig,
    markers: MarkerPrefix,
    slots: Arc<Semaphore>,
    places: Arc<places::Places>,
    first_boots: first_boot::FirstBoots,
    reached: reach::Reached,
    directories: Directories,
    /// Held while an assistant is started for nothing but its list of models.
    listing: tokio::sync::Mutex<()>,
    /// What each worker's messages can name, as its assistant that loaded last has said.
    learned: choices::Learning,
}

impl OpenCodeAgents {
    /// Makes the folders. The state folder's real path names the markers, so it is resolved here.
    pub fn new(config: OpenCodeConfig) -> std::io::Result<Self> {
        for folder in [&config.data_dir, &config.run_dir, &config.state_dir] {
            private_folder(folder)?;
        }
        if let Some(hermetic) = &config.hermetic {
            hermetic.prepare()?;
        }
        let state = config.state_dir.canonicalize()?;
        Ok(Self {
            shared: Arc::new(Shared {
                markers: MarkerPrefix::of_state_folder(&state),
                slots: Arc::new(Semaphore::new(config.boot_slots.max(1))),
                places: places::Places::new(config.most_children),
                first_boots: first_boot::FirstBoots::default(),
                reached: reach::Reached::default(),
                directories: Directories::default(),
                listing: tokio::sync::Mutex::default(),
                learned: choices::Learning::default(),
                config,
            }),
        })
    }

    /// What this supervisor's markers begin with, for the sweep at its start.
    pub fn marker_prefix(&self) -> &MarkerPrefix {
        &self.shared.markers
    }

    /// Where its children leave their traces, for the same.
    pub fn traces(&self) -> Places {
        let config = &self.shared.config;
        Places {
            journal: Journal::in_state_folder(&config.state_dir),
            prefix: self.shared.markers.clone(),
            locks: config.locks(),
            temporary: config.temporary(),
        }
    }

    /// The room that all assistants of this machine share.
    pub fn room(&self) -> Room {
        Room {
            places: self.shared.places.clone(),
            slots: self.shared.slots.clone(),
        }
    }

    /// Which directories its chats wait for: a task lets them go first.
    pub fn directories(&self) -> Directories {
        self.shared.directories.clone()
    }

    /// Names the OpenCode store of a worker, for `workers:connect`.
    pub fn store_id(&self, worker: &WorkerId) -> std::io::Result<String> {
        settings::Store::of_worker(&self.shared.config.data_dir, worker.as_str()).id()
    }
}

impl OpenCodeAgents {
    /// Where the OpenCode of a session listens and how it is entered, while it lives.
    pub fn reach(&self, session: &SessionId) -> Option<Reach> {
        self.shared.reached.of_session(session)
    }

    /// What models a worker can name: asked of an OpenCode of it that lives, else of one that is started for the question.
    pub async fn models(
        &self,
        worker: &WorkerId,
        directory: &WorkerDir,
    ) -> Result<Vec<Model>, AgentError> {
        models::of_worker(&self.shared, worker, directory).await
    }

    /// What the workers' messages can name, now and whenever that changes.
    pub fn learned(&self) -> Learned {
        self.shared.learned.follow()
    }

    /// The program that a person's terminal can enter a session with.
    pub fn binary(&self) -> &Path {
        &self.shared.config.binary
    }
}

impl Agents for OpenCodeAgents {
    fn open(&self, spec: OpenSpec) -> Pending<Result<Opened, AgentError>> {
        let shared = self.shared.clone();
        Box::pin(async move { boot::open(shared, spec).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_were_measured_are_compatible() {
        for version in ["1.18.33", "1.18.40", "v1.18.33", "1.18.34-beta.1"] {
            assert!(is_compatible(version), "{version}");
        }
        for version in ["1.18.32", "1.17.99", "1.19.0", "2.0.0", "1.18", "", "local"] {
            assert!(!is_compatible(version), "{version}");
        }
    }
}
