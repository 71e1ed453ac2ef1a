//! Whether the disk does what it should, as the operator hears of it: an error in the log when it begins and once a
//! minute while it lasts, with the file and what is free, and a line when it is over. The server asks [`Trouble::text`]
//! and shows it; a client hears its own call's error only, without the path.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{error, info};

const LOGGED_AGAIN: Duration = Duration::from_mins(1);

pub(super) struct Trouble {
    path: PathBuf,
    now: Option<Current>,
}

struct Current {
    text: String,
    /// Calls that failed since the log was last told.
    failed: u64,
    logged: Instant,
}

impl Trouble {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            now: None,
        }
    }

    /// What is wrong, while something is.
    pub(super) fn text(&self) -> Option<&str> {
        self.now.as_ref().map(|now| now.text.as_str())
    }

    pub(super) fn failed(&mut self, reason: &str) {
        if let Some(now) = &mut self.now {
            now.failed += 1;
            if now.logged.elapsed() < LOGGED_AGAIN {
                return;
            }
        }
        let path = &self.path;
        let free = free_bytes(path);
        let failed = self.now.as_ref().map_or(1, |now| now.failed);
        error!(path = %path.display(), free_bytes = free, failed, reason, "the deployment cannot store");
        let free = free.map_or_else(String::new, |bytes| format!(" ({} MiB free)", bytes >> 20));
        self.now = Some(Current {
            text: format!("cannot store in {}{free}: {reason}", path.display()),
            failed: 0,
            logged: Instant::now(),
        });
    }

    pub(super) fn worked(&mut self) {
        if let Some(now) = self.now.take() {
            info!(failed = now.failed, "the deployment stores again");
        }
    }
}

/// What this process may still write to the file system of `path`.
fn free_bytes(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_names_the_file_and_the_free_space_until_something_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        let mut trouble = Trouble::of(&folder.path().join("local.sqlite3"));
        assert_eq!(trouble.text(), None);
        trouble.failed("the disk is full");
        trouble.failed("the disk is full");
        let text = trouble.text().unwrap();
        for part in ["local.sqlite3 (", " MiB free)", "the disk is full"] {
            assert!(text.contains(part), "{text}");
        }
        trouble.worked();
        assert_eq!(trouble.text(), None);
    }
}
