//! The lock of a directory, and which directories chats wait for. A task that holds one gives it up between two tasks, and people go first: as long as a chat
//! waits, no task takes the directory again. In memory only, because whoever waits waits in this process; between processes
//! the lock itself decides.
//!
//! Directories of one work tree have one lock: what a task switches, resets and cleans is the tree and not the folder
//! that the worker was given.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::marker::short_hash;

/// The lock file of a directory. Looks at the file system, so not on a runtime's thread.
pub fn lock_of(locks: &Path, directory: &Path) -> PathBuf {
    let root = root_of(directory);
    let hash = short_hash(root.as_os_str().as_encoded_bytes());
    locks.join(format!("directory-{hash}.lock"))
}

/// As [`lock_of`], for whoever runs on a runtime's thread.
pub async fn look_for_lock(locks: &Path, directory: &Path) -> io::Result<PathBuf> {
    let (locks, directory) = (locks.to_owned(), directory.to_owned());
    let found = tokio::task::spawn_blocking(move || lock_of(&locks, &directory)).await;
    found.map_err(io::Error::other)
}

/// Where git would find the work tree that the directory is in, by the `.git` that stands there; without one, the
/// directory itself. Git is not asked: a chat needs the lock, too, and needs no git.
pub fn root_of(directory: &Path) -> &Path {
    let has_repository = |folder: &&Path| folder.join(".git").exists();
    let found = directory.ancestors().find(has_repository);
    found.unwrap_or(directory)
}

/// By the path of a directory's lock. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Directories(Arc<Mutex<BTreeMap<PathBuf, usize>>>);

/// Somebody waits while it lives.
#[derive(Debug)]
pub struct Waiter {
    all: Directories,
    lock: PathBuf,
}

impl Directories {
    pub fn wait(&self, lock: &Path) -> Waiter {
        *self.counts().entry(lock.to_owned()).or_default() += 1;
        Waiter {
            all: self.clone(),
            lock: lock.to_owned(),
        }
    }

    pub fn is_waited_for(&self, lock: &Path) -> bool {
        self.counts().contains_key(lock)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<PathBuf, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        if let Some(count) = counts.get_mut(&self.lock) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.lock);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_one_work_tree_have_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| lock_of(Path::new("/locks"), &folder.path().join(name));
        std::fs::create_dir_all(folder.path().join("shop/.git")).unwrap();
        std::fs::create_dir_all(folder.path().join("shop/web/theirs")).unwrap();
        // A work tree or a submodule names its repository in a file.
        std::fs::write(folder.path().join("shop/web/theirs/.git"), "gitdir: x").unwrap();
        assert_eq!(of("shop/web"), of("shop"));
        assert_eq!(of("shop/api/gone"), of("shop"));
        assert_ne!(of("shop/web/theirs"), of("shop"));
        assert_ne!(of("other"), of("another"));
    }

    #[test]
    fn a_directory_is_waited_for_until_the_last_one_has_gone() {
        let directories = Directories::default();
        let (one, two) = (Path::new("/l/one"), Path::new("/l/two"));
        let first = directories.wait(one);
        let second = directories.clone().wait(one);
        assert!(directories.is_waited_for(one) && !directories.is_waited_for(two));
        drop(first);
        assert!(directories.is_waited_for(one));
        drop(second);
        assert!(!directories.is_waited_for(one));
    }
}
