//! Which directories chats wait for. A task that holds one gives it up between two tasks, and people go first: as long as a chat
//! waits, no task takes the directory again. In memory only, because whoever waits waits in this process; between processes
//! the lock itself decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
