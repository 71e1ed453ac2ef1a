//! What the machine is started with and told to become.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::ids::{DeploymentUrl, MachineId, WorkerDir, WorkerId};
use crate::domain::policy::Policy;
use crate::domain::task::TaskSettings;
use crate::domain::token::WorkerToken;
use crate::domain::turn::OnInterrupt;
use crate::ports::Pending;
use crate::ports::agent::Agents;
use crate::ports::clock::Clock;
use crate::ports::embedded::Embedded;
use crate::ports::link::Link;
use crate::ports::outbox::Outbox;
use crate::ports::role::Roles;
use crate::ports::tasks::Workshops;

/// One directory to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSpec {
    /// For people; unique in one configuration.
    pub name: String,
    pub token: Arc<WorkerToken>,
    pub directory: WorkerDir,
    pub url: DeploymentUrl,
    /// A session's child is stopped after this time without a turn.
    pub idle_timeout_ms: u64,
    /// Live children of this worker at once; further sessions wait.
    pub max_sessions: usize,
    /// It takes no new turn; what has begun goes on.
    pub paused: bool,
    /// What becomes of a turn that was interrupted.
    pub on_interrupt: OnInterrupt,
    /// How its tasks are done.
    pub tasks: Arc<TaskSettings>,
    /// What of that which its assistants ask is decided without asking.
    pub permissions: Policy,
    /// How long an owner has for an answer to the rest.
    pub answer_timeout_ms: u64,
    /// A cause that keeps this worker from serving although it is configured (a missing directory).
    pub broken: Option<String>,
}

impl WorkerSpec {
    pub fn id(&self) -> &WorkerId {
        self.token.worker()
    }
}

/// The whole configuration, as the tree wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    pub workers: Vec<WorkerSpec>,
}

/// What the root actor is started with.
pub struct MachineArgs {
    /// For people: the host's name.
    pub name: String,
    pub machine_id: MachineId,
    pub ports: Ports,
    pub desired: Desired,
    pub settings: Settings,
    pub identity: StartIdentity,
    /// The embedded deployment, when this process runs one.
    pub deployment: Option<Arc<dyn Embedded>>,
}

/// What tells this start of this installation from every other.
#[derive(Clone, Debug)]
pub struct StartIdentity {
    pub install_id: String,
    pub start_id: String,
    pub boot_id: String,
    pub hostname: String,
    pub os: String,
    pub tools: Vec<String>,
    pub take_over: bool,
}

/// Durations that hold for every worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two presence beats.
    pub beat_ms: u64,
    /// A running turn without any event for this long, and without a pending request, is ended.
    pub silence_ms: u64,
    /// A provider's own retry further away than this ends the turn.
    pub retry_limit_ms: u64,
    /// For the outbox and the last chunks at shutdown.
    pub flush_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            beat_ms: 10_000,
            silence_ms: 330_000,
            retry_limit_ms: 120_000,
            flush_ms: 2_000,
        }
    }
}

/// Everything the tree uses of the outside world.
#[derive(Clone)]
pub struct Ports {
    pub agents: Arc<dyn Agents>,
    pub roles: Arc<dyn Roles>,
    pub links: Arc<dyn Links>,
    pub outbox: Arc<dyn Outbox>,
    pub clock: Arc<dyn Clock>,
    pub stores: Arc<dyn Stores>,
    pub workshops: Arc<dyn Workshops>,
}

/// Gives the one link of a deployment.
pub trait Links: Send + Sync + 'static {
    fn link(&self, url: &DeploymentUrl) -> Arc<dyn Link>;
}

/// Names the assistant's store of a worker, so that the deployment can tell one store from another. It may have to read
/// files for it, and does so beside the actors.
pub trait Stores: Send + Sync + 'static {
    fn store_id(&self, worker: &WorkerId) -> Pending<Result<String, String>>;
}

/// What a reload did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    pub added: Vec<String>,
    /// Worker name and what changed (`idle_timeout 300s -> 900s (live)`).
    pub changed: Vec<(String, String)>,
    pub removed: Vec<String>,
    pub unchanged: usize,
    pub sessions_kept: usize,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StopReport {
    pub workers: usize,
    pub sessions: usize,
    /// Everything was handed over to the deployment, or lies in the outbox.
    pub flushed: bool,
}

/// How a configured worker's start went, for the first summary and for `Failed to start any workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerStart {
    /// It serves.
    Ready,
    /// It waits (for approval, for a deployment out of reach) and will serve by itself.
    Waiting(String),
    /// It will not serve until somebody changes something.
    Failed(String),
}
