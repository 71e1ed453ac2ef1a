//! One file that may be an assistant: is it there, can it be started, and if not, why not. Nothing is started to find out.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Places;
use super::known::{Program, Proof};

/// Tells an unchanged file from a changed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Seconds since the epoch.
    modified: i64,
    /// Bytes.
    size: u64,
}

pub(super) struct Seen {
    path: PathBuf,
    program: Program,
}

pub(super) enum Candidate {
    Nothing,
    Usable {
        path: PathBuf,
        stamp: Stamp,
    },
    Broken {
        path: PathBuf,
        reason: String,
        stamp: Option<Stamp>,
    },
}

impl Seen {
    pub fn of(path: PathBuf, program: Program) -> Self {
        Self { path, program }
    }

    pub fn check(self, places: &Places) -> Candidate {
        if fs::symlink_metadata(&self.path).is_err() {
            return Candidate::Nothing;
        }
        let Ok(meta) = fs::metadata(&self.path) else {
            return self.broken("is a link to a file that is gone", None);
        };
        if meta.is_dir() || !self.is_meant() {
            return Candidate::Nothing;
        }
        let stamp = Stamp {
            modified: meta.mtime(),
            size: meta.size(),
        };
        if meta.permissions().mode() & 0o111 == 0 {
            return self.broken("may not be executed", Some(stamp));
        }
        if meta.size() == 0 {
            return self.broken("is an empty file", Some(stamp));
        }
        match missing_interpreter(&self.path, places) {
            Some(name) => {
                let reason = format!("needs {name}, which is not found");
                self.broken(&reason, Some(stamp))
            }
            None => Candidate::Usable {
                path: self.path,
                stamp,
            },
        }
    }

    /// Whether this file stands for the assistant and not only has its name.
    fn is_meant(&self) -> bool {
        let Proof::Path(word) = self.program.proof else {
            return true;
        };
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        real.to_string_lossy().to_lowercase().contains(word)
    }

    fn broken(self, reason: &str, stamp: Option<Stamp>) -> Candidate {
        Candidate::Broken {
            path: self.path,
            reason: reason.to_owned(),
            stamp,
        }
    }
}

/// The interpreter that a script's first line names, if it cannot be found.
fn missing_interpreter(path: &Path, places: &Places) -> Option<String> {
    let mut head = [0; 256];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut head));
    let head = String::from_utf8_lossy(&head[..read.unwrap_or(0)]).into_owned();
    let mut words = head.strip_prefix("#!")?.lines().next()?.split_whitespace();
    let interpreter = words.next()?;
    if !Path::new(interpreter).ends_with("env") {
        return (!Path::new(interpreter).is_file()).then(|| interpreter.to_owned());
    }
    // `env -S node --flag`, `env NAME=value node`
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    let beside = path.parent().unwrap_or(Path::new("/"));
    (!places.has_program(OsStr::new(name), beside)).then(|| name.to_owned())
}
