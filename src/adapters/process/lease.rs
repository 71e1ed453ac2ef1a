//! The lease: file locks that say who may have a child for a session and who may work in a directory. Chats
//! share a directory; a task that works in its tree takes it alone. Locks are tried, never waited for, and are
//! the kernel's: they end with the last descriptor, so a dead holder never blocks anybody, and what a file says of its
//! holder is for people only.
//!
//! A session's lock file goes with its holder ([`Lease::give_back`]), what killed holders left later ([`prune`]): removed by who
//! holds it locked at that moment. Whoever has locked a file makes sure that it still is the one under that name, so that there
//! are never two holders.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::private::private_folder;

/// How often a lock file may vanish between opening and locking it before that is an error.
const TRIES: usize = 16;

/// The most that is read of what a holder says.
const MOST_SAID: u64 = 512;

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

/// A lock that somebody else has, with what its holder says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub path: PathBuf,
    pub holder: Option<String>,
}

impl Held {
    fn at(path: &Path) -> Self {
        let said = File::open(path).and_then(|file| {
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, MOST_SAID), &mut text)?;
            Ok(text)
        });
        let holder = said.ok().and_then(|text| String::from_utf8(text).ok());
        Self {
            path: path.to_owned(),
            holder: holder
                .map(|text| text.trim().replace(char::is_control, " "))
                .filter(|text| !text.is_empty()),
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.holder {
            Some(holder) => write!(f, " ({holder})"),
            None => Ok(()),
        }
    }
}

/// Held locks. Dropping them frees the lease.
#[derive(Debug)]
pub struct Lease {
    session: Option<(File, PathBuf)>,
    _directory: Option<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("somebody else holds {0}")]
    Busy(Held),
    #[error("could not lock {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Lease {
    /// Takes all locks or none, without waiting.
    pub fn try_take(spec: &LeaseSpec) -> Result<Self, LeaseError> {
        let session = spec
            .session
            .as_deref()
            .map(|path| Ok((lock(path, File::try_lock)?, path.to_owned())))
            .transpose()?;
        let directory = match &spec.directory {
            Some((path, DirectoryUse::Shared)) => Some(lock(path, File::try_lock_shared)?),
            Some((path, DirectoryUse::Exclusive)) => Some(lock(path, File::try_lock)?),
            None => None,
        };
        Ok(Self {
            session,
            _directory: directory,
        })
    }

    /// Says to whoever finds the session busy who has it.
    pub fn say(&self, who: &str) {
        if let Some((file, _)) = &self.session {
            // For people only: a full disk makes nothing worse.
            let _ = file.set_len(0);
            let _ = file.write_all_at(who.as_bytes(), 0);
        }
    }

    /// Frees the lease without leaving the session's file behind: every session that ever was would leave one.
    pub fn give_back(self) {
        if let Some((file, path)) = &self.session
            && is_at(file, path)
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn lock(path: &Path, how: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File, LeaseError> {
    let failed = |source| LeaseError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        private_folder(folder).map_err(failed)?;
    }
    for _ in 0..TRIES {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match how(&file) {
            Ok(()) if is_at(&file, path) => return Ok(file),
            // Removed since it was opened: a lock on it means nothing any more.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LeaseError::Busy(Held::at(path))),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(failed(io::Error::other("the file keeps vanishing")))
}

/// Whether the open file is the one under this name.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Removes lock files that nobody holds and nobody has written to for `age`: those of directories, and of sessions whose
/// warden was killed. Returns how many.
pub fn prune(locks: &Path, age: Duration) -> usize {
    let Ok(files) = fs::read_dir(locks) else {
        return 0;
    };
    let old = |file: &fs::DirEntry| {
        let changed = file.metadata().ok().filter(fs::Metadata::is_file)?;
        let changed = changed.modified().ok()?;
        Some(SystemTime::now().duration_since(changed).ok()? >= age)
    };
    let is_ours = |file: &fs::DirEntry| {
        let name = file.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".lock"));
        stem.is_some_and(|stem| stem.starts_with("session-") || stem.starts_with("directory-"))
    };
    let mut removed = 0;
    for file in files.flatten().filter(is_ours) {
        if old(&file) != Some(true) {
            continue;
        }
        let path = file.path();
        let Ok(open) = File::options().write(true).open(&path) else {
            continue;
        };
        if open.try_lock().is_ok() && is_at(&open, &path) && fs::remove_file(&path).is_ok() {
            removed += 1;
        }
    }
    removed
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
            Err(LeaseError::Busy(held)) if held.path.ends_with("a")
        ));
        assert!(matches!(
            take("task", DirectoryUse::Exclusive),
            Err(LeaseError::Busy(held)) if held.path.ends_with("directory")
        ));
        drop((one, two));
        let _task = take("task", DirectoryUse::Exclusive).unwrap();
        assert!(take("a", DirectoryUse::Shared).is_err());
    }

    #[test]
    fn a_lock_file_without_an_owner_blocks_nobody_whatever_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let only = |name: &str| LeaseSpec {
            session: Some(folder.path().join(name)),
            directory: None,
        };
        fs::write(folder.path().join("s"), b"warden 1\xff\0 of a dead owner").unwrap();
        let lease = Lease::try_take(&only("s")).unwrap();
        lease.say("warden 42");
        let busy = Lease::try_take(&only("s")).unwrap_err().to_string();
        assert!(busy.ends_with("/s (warden 42)"), "{busy}");
        drop(lease);
        Lease::try_take(&only("s")).unwrap();
    }

    #[test]
    fn a_sessions_lock_file_goes_with_its_holder_and_a_directorys_stays_for_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let take = |session| Lease::try_take(&spec(folder.path(), session, DirectoryUse::Shared));
        let (one, two) = (take("a").unwrap(), take("b").unwrap());
        one.give_back();
        assert!(!folder.path().join("a").exists());
        assert!(folder.path().join("b").exists() && folder.path().join("directory").exists());
        let _again = take("a").unwrap();
        assert!(take("a").is_err());
        two.give_back();
    }

    #[test]
    fn only_old_lock_files_that_nobody_holds_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let only = |key: &str| LeaseSpec {
            session: Some(session_lock(folder.path(), key)),
            directory: None,
        };
        let held = Lease::try_take(&only("held")).unwrap();
        drop(Lease::try_take(&only("free")).unwrap());
        fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        assert_eq!(prune(folder.path(), Duration::from_hours(1)), 0);
        assert_eq!(prune(folder.path(), Duration::ZERO), 1);
        assert!(folder.path().join("notes.txt").exists());
        assert!(Lease::try_take(&only("held")).is_err());
        drop(held);
        assert_eq!(prune(folder.path(), Duration::ZERO), 1);
    }

    #[test]
    fn pruning_never_makes_two_holders() {
        use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let only = LeaseSpec {
            session: Some(session_lock(folder.path(), "s")),
            directory: None,
        };
        let (holders, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    prune(folder.path(), Duration::ZERO);
                }
            });
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut taken = 0;
                        while taken < 300 {
                            // A file that vanished sixteen times in a row is an error, not a second holder.
                            let Ok(lease) = Lease::try_take(&only) else {
                                continue;
                            };
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            taken += 1;
                            holders.fetch_sub(1, Ordering::SeqCst);
                            if taken % 2 == 0 {
                                lease.give_back();
                            }
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = takers
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect();
            over.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok), "two held it at once");
        });
    }
}
