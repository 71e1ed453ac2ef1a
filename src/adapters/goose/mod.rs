//! Goose behind the [`Runner`] port: one `goose run` for each task, under a warden, with folders of its own that are removed
//! with it, so that neither its settings nor its sessions mix with the user's.
//!
//! Its exit code says little: with a rate limit, a full context or its turns used up it can be 0. So the outcome is
//! read from what it prints ([`transcript`]) and judged by a pure function ([`verdict`]); whether it did any work is git's
//! to say. The task's text goes into a file outside the repository, keys only into the child's environment.

mod command;
mod transcript;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestrator_actors::domain::task::Failure;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{Assignment, RunReport, Runner};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::adapters::oneshot::{self, Common, End, Folder, OneShot};
use crate::adapters::process::WardSpec;

/// The version that the tests install.
pub const PINNED_VERSION: &str = "1.52.0";

#[derive(Clone, Debug)]
pub struct GooseConfig {
    pub common: Common,
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
}

impl GooseConfig {
    /// With everything else as it is by default.
    pub fn new(common: Common, environment: BTreeMap<String, String>) -> Self {
        Self {
            common,
            provider: "openrouter".to_owned(),
            model: "anthropic/claude-sonnet-4".to_owned(),
            environment,
            env_passthrough: Vec::new(),
            settings: BTreeMap::new(),
            keys: BTreeMap::new(),
            max_turns: 100,
        }
    }
}

/// Runs Goose. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GooseRunner {
    config: Arc<GooseConfig>,
}

impl GooseRunner {
    pub fn new(config: GooseConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }
}

impl OneShot for GooseRunner {
    type Transcript = transcript::Transcript;

    fn name(&self) -> &'static str {
        "goose"
    }

    fn common(&self) -> &Common {
        &self.config.common
    }

    fn describe(&self, assignment: &Assignment, folder: &Folder) -> (WardSpec, Vec<String>) {
        command::describe(self, assignment, folder)
    }

    fn verdict(&self, end: &End, transcript: &Self::Transcript) -> Result<RunReport, Failure> {
        verdict::verdict(end, transcript)
    }
}

impl Runner for GooseRunner {
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let goose = self.clone();
        Box::pin(async move { oneshot::run(&goose, &assignment, &abort).await })
    }
}
