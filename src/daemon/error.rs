//! Why a supervisor did not start, or gave up. Each variant has its exit code in `src/cli/exit.rs`.

use std::path::PathBuf;

use thiserror::Error;

use super::announce::WorkerLine;
use super::instance::Holder;

#[derive(Debug, Error)]
pub enum RunError {
    #[error("orchestrator is already running{}", describe(*.0))]
    AlreadyRunning(Option<Holder>),
    #[error("the deployment in {} is in use{}", folder.display(), describe(*holder))]
    LocalInUse {
        folder: PathBuf,
        holder: Option<Holder>,
    },
    #[error("port {port} is in use")]
    PortInUse { port: u16 },
    /// No usable assistant, and none could be installed.
    #[error("{0}")]
    AssistantMissing(String),
    #[error("cannot reach the deployment {url}: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{0}")]
    Refused(String),
    /// Every worker failed; what each one said.
    #[error("Failed to start any workers. Check the errors above.")]
    NoWorker(Vec<WorkerLine>),
    /// Development mode ends with its worker.
    #[error("worker {name}: {reason}")]
    WorkerEnded { name: String, reason: String },
    #[error("the root of the actor tree crashed; its log says why (`state/logs`)")]
    TreeFailed,
    /// The state folder, or a file in it, cannot be used.
    #[error("{0}")]
    StateFolder(String),
    /// Another file or folder.
    #[error("{0}")]
    Setup(String),
}

impl RunError {
    /// What the process ends with, as `src/cli/exit.rs` names it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoWorker(_)
            | Self::WorkerEnded { .. }
            | Self::PortInUse { .. }
            | Self::TreeFailed
            | Self::StateFolder(_)
            | Self::Setup(_) => 1,
            Self::AlreadyRunning(_) | Self::LocalInUse { .. } => 5,
            Self::Refused(_) => 6,
            Self::Unreachable { .. } => 7,
            Self::AssistantMissing(_) => 8,
        }
    }
}

/// ` (pid 4100, since 09:12)`.
fn describe(holder: Option<Holder>) -> String {
    match holder {
        Some(holder) if holder.pid != 0 => format!(
            " (pid {}, since {})",
            holder.pid,
            crate::ui::format::clock_time(holder.since_ms)
        ),
        _ => String::new(),
    }
}
