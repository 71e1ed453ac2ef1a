//! The private temporary folders of children: `<run>/tmp/<session>/<warden's pid>`. OpenCode's runtime leaves megabytes in
//! its TMPDIR at every start, so each child gets a folder of its own that goes with it. Its warden removes it; when the
//! warden was killed, whoever holds the session's lock next does, or the next start of a supervisor.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::lease::{Lease, LeaseSpec, session_lock};
use super::private::private_folder;

/// A child's folder; removed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Temporary(Option<PathBuf>);

impl Temporary {
    /// The caller holds the session's lock, so whatever is in the session's folder is nobody's.
    pub fn make(session_folder: Option<&Path>) -> io::Result<Self> {
        let Some(session_folder) = session_folder else {
            return Ok(Self(None));
        };
        remove(session_folder);
        let folder = session_folder.join(std::process::id().to_string());
        private_folder(&folder)?;
        fs::set_permissions(session_folder, fs::Permissions::from_mode(0o700))?;
        Ok(Self(Some(folder)))
    }

    pub fn folder(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            remove(folder);
            if let Some(session_folder) = folder.parent() {
                let _ = fs::remove_dir(session_folder);
            }
        }
    }
}

/// Removes a session's folder. The caller holds the session's lock.
pub(super) fn remove(folder: &Path) {
    if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
        return;
    }
    // A tool can have taken the write bit from a folder of its own.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// Removes the folders of all sessions that nobody holds. Returns how many there were.
pub(super) fn sweep(all: &Path, locks: &Path) -> usize {
    let Ok(sessions) = fs::read_dir(all) else {
        return 0;
    };
    let mut removed = 0;
    for folder in sessions.flatten() {
        let name = folder.file_name();
        let (Some(key), true) = (
            name.to_str(),
            folder.file_type().is_ok_and(|kind| kind.is_dir()),
        ) else {
            continue;
        };
        let lease = LeaseSpec {
            session: Some(session_lock(locks, key)),
            directory: None,
        };
        if let Ok(lease) = Lease::try_take(&lease) {
            remove(&folder.path());
            removed += usize::from(!folder.path().exists());
            lease.give_back();
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_sessions_that_nobody_holds_go_and_a_living_childs_stays() {
        let run = tempfile::tempdir().unwrap();
        let (all, locks) = (run.path().join("tmp"), run.path().join("locks"));
        for session in ["living", "dead"] {
            fs::create_dir_all(all.join(session).join("77")).unwrap();
            fs::write(all.join(session).join("77/lib.so"), "x").unwrap();
        }
        // Even one that its tool has protected.
        let mode = fs::Permissions::from_mode(0o500);
        fs::set_permissions(all.join("dead/77"), mode).unwrap();
        fs::write(all.join("a file of somebody's"), "x").unwrap();
        let held = LeaseSpec {
            session: Some(session_lock(&locks, "living")),
            directory: None,
        };
        let lease = Lease::try_take(&held).unwrap();
        assert_eq!(sweep(&all, &locks), 1);
        assert!(all.join("living/77/lib.so").exists() && !all.join("dead").exists());
        drop(lease);
        // A process that another test is just starting has the descriptor, and with it the lock, until its exec.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while sweep(&all, &locks) != 1 {
            assert!(std::time::Instant::now() < until, "it is never swept");
            std::thread::yield_now();
        }
        assert!(all.join("a file of somebody's").exists());
        assert_eq!(sweep(&run.path().join("none"), &locks), 0);
    }
}
