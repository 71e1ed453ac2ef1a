//! The way to the running supervisor: is there one (the lock says), where does it listen (`daemon.json` says, because
//! the runtime folder of this shell may be another one), and one call.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::failure::Failure;
use super::globals::App;
use crate::control::{self, Request, Verb};
use crate::daemon::{DaemonFile, Holder, holder};

/// For everything that only reads.
pub const SHORT: Duration = Duration::from_secs(10);

/// A supervisor that runs.
pub struct Supervisor {
    pub holder: Holder,
    /// Absent for a moment while it starts.
    pub file: Option<DaemonFile>,
    socket: PathBuf,
}

impl Supervisor {
    /// The one with this state folder, or "not running".
    pub fn find(app: &App) -> Result<Self, Failure> {
        let file = DaemonFile::read(&app.paths.daemon_file());
        let Some(holder) = holder(&app.paths.lock_file()) else {
            return Err(Failure::not_running(file.as_ref()));
        };
        let file = file.filter(|file| file.pid == holder.pid);
        let socket = match &file {
            Some(file) => file.socket.clone(),
            None => control::socket_path(&app.paths)?,
        };
        Ok(Self {
            holder,
            file,
            socket,
        })
    }

    /// Asks, and explains a supervisor that holds the lock but does not listen.
    pub async fn ask(&self, verb: Verb, limit: Duration) -> Result<Value, Failure> {
        match control::call(&self.socket, &Request::new(verb), limit).await {
            Err(control::ClientError::NotListening { .. }) => Err(Failure::failed(format!(
                "the supervisor (pid {}) is not listening: it is starting or stopping",
                self.holder.pid
            ))
            .hint("try again in a moment")),
            other => Ok(other?),
        }
    }
}
