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
    /// Of the file itself. It is not over when something could be stored all the same.
    damage: Option<String>,
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
            damage: None,
        }
    }

    /// What is wrong, while something is.
    pub(super) fn text(&self) -> Option<&str> {
        let now = self.now.as_ref().map(|now| &now.text);
        self.damage.as_ref().or(now).map(String::as_str)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// From now on nothing is stored any more: what is written over a damaged tree can take the rest with it.
    pub(super) fn damaged(&mut self, reason: &str) {
        if self.damage.is_some() {
            return;
        }
        let path = self.path.display();
        // Not a warning: whoever serves shows the text itself, to people.
        info!(%path, reason, "the database is damaged: writes are refused");
        self.damage = Some(format!(
            "the database {path} is damaged ({reason}): what can still be read is answered, and nothing is written; stop \
             the deployment, move the file away and put a copy in its place"
        ));
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
        trouble.damaged("page 7");
        trouble.worked();
        let text = trouble.text().unwrap();
        for part in [
            "local.sqlite3 is damaged (page 7)",
            "nothing is written",
            "put a copy",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
