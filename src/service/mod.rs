//! The supervisor as a service of the user's session: which file a service manager wants, what stands in it, and whose it is.
//! `systemd` writes units, `launchd` property lists (made and parsed by tests, never tried on macOS); `capture` takes over what a
//! manager's own environment lacks. Nothing here starts anything: `src/cli/commands/service` does.
//!
//! A file that we did not write is never replaced or removed, unless somebody insists.

pub mod capture;
mod file;
mod launchd;
mod systemd;

pub use capture::Captured;
pub use file::{Standing, remove, standing, write};

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::Paths;

/// What stands in every file of ours.
const MARK: &str = "Written by `orchestrator service install`";
/// The variables of a service, next to `workers.json`: the file is never made here.
const ENVIRONMENT_FILE: &str = "service.env";

#[derive(Debug, Error)]
pub enum ServiceError {
    #[error("{what} cannot be written into a service file: {reason}")]
    Unusable { what: String, reason: &'static str },
    #[error("PATH has no folder that a service could use")]
    NoPath,
    #[error("{} was not written by orchestrator", path.display())]
    NotOurs { path: PathBuf },
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Paths(#[from] crate::config::paths::PathsError),
}

/// Who starts us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    Systemd,
    Launchd,
}

/// What to start, and in what surroundings.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Absolute.
    pub binary: PathBuf,
    /// Flags that hold for every command (`--state-dir`).
    pub globals: Vec<String>,
    /// `run` and its flags.
    pub run: Vec<String>,
    pub captured: Captured,
}

impl Manager {
    /// This system's own.
    pub fn here() -> Self {
        if cfg!(target_os = "macos") {
            Self::Launchd
        } else {
            Self::Systemd
        }
    }

    /// Where it looks for files of the user.
    pub fn file(self, paths: &Paths) -> PathBuf {
        match self {
            Self::Systemd => {
                let base = paths.config.parent().unwrap_or(&paths.home);
                base.join("systemd/user").join(systemd::UNIT)
            }
            Self::Launchd => paths
                .home
                .join("Library/LaunchAgents")
                .join(format!("{}.plist", launchd::LABEL)),
        }
    }

    /// The whole file.
    pub fn text(self, wanted: &Wanted, paths: &Paths) -> Result<String, ServiceError> {
        match self {
            Self::Systemd => systemd::unit(wanted, paths),
            Self::Launchd => launchd::list(wanted, paths),
        }
    }

    /// The PATH that a file of ours gives to the service.
    pub fn path_in(self, text: &str) -> Option<String> {
        match self {
            Self::Systemd => systemd::variable(text, "PATH"),
            Self::Launchd => launchd::variable(text, "PATH"),
        }
    }

    /// Its own program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Systemd => "systemctl",
            Self::Launchd => "launchctl",
        }
    }

    /// After the file has been written.
    pub fn start_steps(self, file: &Path, standing: Before) -> Vec<Vec<String>> {
        match self {
            Self::Systemd => systemd::start_steps(standing),
            Self::Launchd => launchd::start_steps(file, standing),
        }
    }

    /// Before the file is removed, and after it.
    pub fn stop_steps(self) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        match self {
            Self::Systemd => systemd::stop_steps(),
            Self::Launchd => launchd::stop_steps(),
        }
    }

    /// Answers with success when the service runs.
    pub fn is_active(self) -> Vec<String> {
        match self {
            Self::Systemd => systemd::words("is-active", &["--quiet", systemd::UNIT]),
            Self::Launchd => launchd::is_active(),
        }
    }
}

/// What ran before an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// The service itself: it has to take the new file.
    Service,
    /// A supervisor that somebody started: the service would find it in its way.
    Another,
}

/// Text that a line of these files can hold.
fn plain<'t>(what: &str, text: &'t str) -> Result<&'t str, ServiceError> {
    if text.chars().any(char::is_control) {
        return Err(ServiceError::Unusable {
            what: what.to_owned(),
            reason: "it has a line break or another control character",
        });
    }
    Ok(text)
}

fn plain_path<'p>(what: &str, path: &'p Path) -> Result<&'p str, ServiceError> {
    let text = path.to_str().ok_or_else(|| ServiceError::Unusable {
        what: what.to_owned(),
        reason: "it is not UTF-8",
    })?;
    plain(what, text)
}

fn environment_file(paths: &Paths) -> PathBuf {
    paths.config.join(ENVIRONMENT_FILE)
}

#[cfg(test)]
mod tests;
