//! The lease: file locks that say who may have a child for a session and who may work in a directory. Chats
//! share a directory; a task that works in its tree takes it alone. Locks are tried, never waited for, and are
//! the kernel's: they end with the last descriptor, so a dead holder never blocks anybody.
//! Lock files are never deleted: deleting one while somebody opens it would make two holders.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How a directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectoryUse {
    /// By a chat, together with others.
    Shared,
    /// By a task, alone.
    Exclusive,
}

/// Which locks a child needs; each may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSpec {
    pub session: Option<PathBuf>,
    pub directory: Option<(PathBuf, DirectoryUse)>,
}

/// The lock file of a session, by the key that its marker has, too.
pub fn session_lock(locks: &Path, session_key: &str) -> PathBuf {
    locks.join(format!("session-{session_key}.lock"))
}

/// Held locks. Dropping them frees the lease.
#[derive(Debug)]
pub struct Lease {
    _session: Option<File>,
    _directory: Option<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("somebody else holds {}", .0.display())]
    Busy(PathBuf),
    #[error("could not lock {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Lease {
    /// Takes all locks or none, without waiting.
    pub fn try_take(spec: &LeaseSpec) -> Result<Self, LeaseError> {
        let session = spec
            .session
            .as_deref()
            .map(|path| lock(path, File::try_lock))
            .transpose()?;
        let directory = match &spec.directory {
            Some((path, DirectoryUse::Shared)) => Some(lock(path, File::try_lock_shared)?),
            Some((path, DirectoryUse::Exclusive)) => Some(lock(path, File::try_lock)?),
            None => None,
        };
        Ok(Self {
            _session: session,
            _directory: directory,
        })
    }
}

fn lock(
    path: &Path,
    how: impl FnOnce(&File) -> Result<(), TryLockError>,
) -> Result<File, LeaseError> {
    let failed = |source| LeaseError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match how(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LeaseError::Busy(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &Path, session: &str, mode: DirectoryUse) -> LeaseSpec {
        LeaseSpec {
            session: Some(folder.join(session)),
            directory: Some((folder.join("directory"), mode)),
        }
    }

    #[test]
    fn chats_share_a_directory_and_a_task_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let take = |session, mode| Lease::try_take(&spec(folder.path(), session, mode));
        let one = take("a", DirectoryUse::Shared).unwrap();
        let two = take("b", DirectoryUse::Shared).unwrap();
        assert!(matches!(
            take("a", DirectoryUse::Shared),
            Err(LeaseError::Busy(path)) if path.ends_with("a")
        ));
        assert!(matches!(
            take("task", DirectoryUse::Exclusive),
            Err(LeaseError::Busy(path)) if path.ends_with("directory")
        ));
        drop((one, two));
        let _task = take("task", DirectoryUse::Exclusive).unwrap();
        assert!(take("a", DirectoryUse::Shared).is_err());
    }
}
