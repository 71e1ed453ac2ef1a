//! What the supervisor is started with, flags and environment already resolved.

use std::path::PathBuf;
use std::time::Duration;

use orchestrator_actors::domain::policy::Policy;

use super::listen::Listen;
use crate::config::{Limits, Loaded, Millis, Notify, Paths, Source};

#[derive(Clone, Debug)]
pub struct RunOptions {
    pub paths: Paths,
    pub mode: Mode,
    /// Serve a token that another supervisor holds.
    pub take_over: bool,
    /// Answer from the scripted model.
    pub demo: bool,
    /// The OpenCode binary to use.
    pub opencode: Option<PathBuf>,
    /// From an assistant's start until it listens; absent for its adapter's own limit.
    pub boot: Option<Duration>,
    /// The least time between two appends of streamed text; absent for the one that suits the deployment, may be 0.
    pub append_spacing: Option<Duration>,
    /// What assistants may take of the machine.
    pub limits: Limits,
    /// For the graceful stop.
    pub shutdown: Duration,
    /// Over what the configuration says.
    pub idle_timeout_ms: Option<Millis>,
    /// How the configuration is read again; none with `--local`.
    pub source: Option<Source>,
    /// Reload when the configuration's file changes.
    pub watch: bool,
    /// End when nothing is left to do.
    pub exit_when_idle: bool,
}

#[derive(Clone, Debug)]
pub enum Mode {
    /// The workers of `workers.json`, or development mode's one.
    Workers(Loaded),
    /// The embedded deployment, and the directories given.
    Local(LocalOptions),
}

#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// As given on the command line; never empty.
    pub directories: Vec<PathBuf>,
    /// 0 for any free one.
    pub port: u16,
    /// Of web pages that may talk to the deployment.
    pub origins: Vec<String>,
    /// The port for other devices.
    pub listen: Option<Listen>,
    /// What its owner is told, and how.
    pub notify: Notify,
    pub permissions: Policy,
    pub answer_timeout_ms: Millis,
}

impl Mode {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Workers(_) => "workers",
            Self::Local(_) => "local",
        }
    }
}
