//! Goose behind the [`Runner`] port: one `goose run` for each task, under a warden, with folders of its own that are removed
//! with it, so that neither its settings nor its sessions mix with the user's.
//!
//! Its exit code says little: with a rate limit, a full context or its turns used up it can be 0. So the outcome is
//! read from what it prints ([`transcript`]) and judged by a pure function ([`verdict`]); whether it did any work is git's
//! to say. The task's text goes into a file outside the repository, keys only into the child's environment.

mod command;
mod run;
mod transcript;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::task::{Failure, Patience};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{Assignment, RunReport, Runner};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::adapters::process::marker::MarkerPrefix;

/// The version that the tests install.
pub const PINNED_VERSION: &str = "1.52.0";

#[derive(Clone, Debug)]
pub struct GooseConfig {
    pub binary: PathBuf,
    pub provider: String,
    pub model: String,
    /// The environment that Goose's is made of; only what an assistant may see is taken.
    pub environment: BTreeMap<String, String>,
    /// Further variables that it may see (patterns).
    pub env_passthrough: Vec<String>,
    /// Set over all of it, for example `OPENAI_HOST`.
    pub settings: BTreeMap<String, String>,
    /// Providers' keys by the name of their variable.
    pub keys: BTreeMap<String, SecretString>,
    pub max_turns: u32,
    pub limits: Limits,
    /// Of the command, for what passes by itself, and only while the assistant has not used a tool.
    pub patience: Patience,
    /// The supervisor's state folder: the child journal, and what the markers are named after.
    pub state_dir: PathBuf,
    /// Locks, temporary folders, and Goose's own.
    pub run_dir: PathBuf,
    pub warden: PathBuf,
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Then it is asked to end.
    pub process: Duration,
    /// Then it is ended, counted from the start; later than `process`.
    pub hard: Duration,
    /// From the request of somebody who calls it off to its end.
    pub abort: Duration,
    /// A provider that says nothing for this long is given up by Goose itself, where it has a setting for it.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            process: Duration::from_mins(30),
            hard: Duration::from_secs(30 * 60 + 30),
            abort: Duration::from_secs(2),
            silence: Duration::from_mins(5),
        }
    }
}

impl GooseConfig {
    /// With everything else as it is by default.
    pub fn new(
        binary: impl Into<PathBuf>,
        environment: BTreeMap<String, String>,
        state_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
        warden: impl Into<PathBuf>,
    ) -> Self {
        Self {
            binary: binary.into(),
            provider: "openrouter".to_owned(),
            model: "anthropic/claude-sonnet-4".to_owned(),
            environment,
            env_passthrough: Vec::new(),
            settings: BTreeMap::new(),
            keys: BTreeMap::new(),
            max_turns: 100,
            limits: Limits::default(),
            patience: Patience::RUN,
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            warden: warden.into(),
        }
    }
}

/// Runs Goose. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GooseRunner {
    config: Arc<GooseConfig>,
    markers: MarkerPrefix,
}

impl GooseRunner {
    pub fn new(config: GooseConfig) -> Self {
        let state = config.state_dir.canonicalize();
        let state = state.unwrap_or_else(|_| config.state_dir.clone());
        Self {
            markers: MarkerPrefix::of_state_folder(&state),
            config: Arc::new(config),
        }
    }
}

impl Runner for GooseRunner {
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let goose = self.clone();
        Box::pin(async move { run::run(&goose, &assignment, &abort).await })
    }
}
