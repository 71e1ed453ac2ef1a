//! What the shell's environment has and a service manager's lacks: above all PATH, without which no assistant and no tool of one
//! is found. Only folders that are safe in a service are taken over; nothing that may be a secret is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{ServiceError, plain};
use crate::config::env;

/// Beside PATH, when they are set: where our files are, and which assistant to use. All of them are paths.
const PLACES: &[&str] = &[
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_HOME",
    env::OPENCODE_BIN,
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// PATH first.
    pub variables: Vec<(String, String)>,
    /// Of PATH, and why.
    pub left_out: Vec<String>,
}

impl Captured {
    pub fn path(&self) -> &str {
        let path = self.variables.iter().find(|(name, _)| name == "PATH");
        path.map_or("", |(_, value)| value)
    }
}

/// From this process's environment.
pub fn capture() -> Result<Captured, ServiceError> {
    from(&|name| std::env::var_os(name).map(PathBuf::from))
}

/// From any environment.
pub fn from(env: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Captured, ServiceError> {
    let path = env("PATH").ok_or(ServiceError::NoPath)?;
    let (folders, left_out) = folders(path.as_os_str());
    if folders.is_empty() {
        return Err(ServiceError::NoPath);
    }
    let mut variables = vec![("PATH".to_owned(), folders.join(":"))];
    for name in PLACES {
        let Some(value) = env(name).filter(|value| value.is_absolute()) else {
            continue;
        };
        let value = super::plain_path(name, &value)?.to_owned();
        variables.push(((*name).to_owned(), value));
    }
    Ok(Captured {
        variables,
        left_out,
    })
}

/// The folders to keep, each once and in their order, and what was left out. An empty or relative one means another folder in
/// every directory, and assistants can write into theirs.
fn folders(path: &OsStr) -> (Vec<String>, Vec<String>) {
    let mut kept: Vec<String> = Vec::new();
    let mut left_out = Vec::new();
    for folder in std::env::split_paths(path) {
        match usable(&folder) {
            Ok(folder) if kept.iter().any(|one| one == folder) => {}
            Ok(folder) => kept.push(folder.to_owned()),
            Err(reason) => left_out.push(format!("{:?}: {reason}", folder.display().to_string())),
        }
    }
    (kept, left_out)
}

fn usable(folder: &Path) -> Result<&str, &'static str> {
    if folder.as_os_str().is_empty() {
        return Err("it means the current directory");
    }
    if !folder.is_absolute() {
        return Err("it is relative");
    }
    let text = folder.to_str().ok_or("it is not UTF-8")?;
    plain("PATH", text).map_err(|_| "it has a control character")
}
