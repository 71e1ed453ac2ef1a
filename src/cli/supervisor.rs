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
    state_file: PathBuf,
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
            state_file: app.paths.daemon_file(),
        })
    }

    /// Asks, and explains a supervisor that holds the lock but does not listen.
    pub async fn ask(&self, verb: Verb, limit: Duration) -> Result<Value, Failure> {
        match control::call(&self.socket, &Request::new(verb), limit).await {
            Err(control::ClientError::NotListening { .. }) => {
                // It may have come that far only after we looked.
                let file = DaemonFile::read(&self.state_file);
                let file = file.filter(|file| file.pid == self.holder.pid);
                Err(
                    Failure::failed(not_listening(self.holder.pid, file.as_ref()))
                        .hint("try again in a moment"),
                )
            }
            other => Ok(other?),
        }
    }
}

fn not_listening(pid: u32, file: Option<&DaemonFile>) -> String {
    match file.and_then(|file| file.starting.as_ref()) {
        Some(what) => {
            format!("the supervisor (pid {pid}) is not listening yet: it is starting: {what}")
        }
        None => format!("the supervisor (pid {pid}) is not listening: it is starting or stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_installs_says_so_before_it_listens() {
        let text = r#"{"schema":1,"pid":7,"started_at":"","version":"","mode":"workers","socket":"s","url":null,
            "owner_key":null,"starting":"opencode 9 not found: installing the pinned version with npm"}"#;
        let file: DaemonFile = serde_json::from_str(text).unwrap();
        let told = not_listening(7, Some(&file));
        assert!(
            told.ends_with(
                "it is starting: opencode 9 not found: installing the pinned version with npm"
            ),
            "{told}"
        );
        assert!(not_listening(7, None).ends_with("it is starting or stopping"));
    }
}
