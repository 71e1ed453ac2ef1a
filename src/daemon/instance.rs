//! One supervisor per state folder: a file lock held for life. The lock is the truth, a pid never is: a killed
//! holder frees it at once, and a reused pid means nothing. What stands in the file is for messages only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::paths::private_dir;

/// A look at the lock ([`holder`]) holds it for a moment; a start tries again instead of believing in a twin.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(25);

/// Who holds a lock, as written into the file by the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// Since the Unix epoch.
    pub since_ms: u64,
}

#[derive(Debug, Error)]
pub enum LockError {
    #[error("another one holds {}", path.display())]
    Held {
        path: PathBuf,
        holder: Option<Holder>,
    },
    #[error("cannot use the lock file {}: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
}

/// The held lock. Dropping it frees it; the file stays.
#[derive(Debug)]
pub struct Instance {
    _file: File,
    pub holder: Holder,
}

impl Instance {
    pub async fn acquire(path: &Path, now_ms: u64) -> Result<Self, LockError> {
        let unusable = |reason: String| LockError::Unusable {
            path: path.to_owned(),
            reason,
        };
        if let Some(folder) = path.parent() {
            private_dir(folder).map_err(|error| unusable(error.to_string()))?;
        }
        let mut file = open(path).map_err(|error| unusable(error.to_string()))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(BETWEEN).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held {
                        path: path.to_owned(),
                        holder: read(&mut file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error.to_string())),
            }
        }
        let holder = Holder {
            pid: std::process::id(),
            since_ms: now_ms,
        };
        write(&mut file, holder).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            _file: file,
            holder,
        })
    }
}

/// Who holds the lock now; `None` when nobody does. A holder whose line cannot be read has pid 0.
pub fn holder(path: &Path) -> Option<Holder> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read(&mut file).unwrap_or(Holder {
            pid: 0,
            since_ms: 0,
        })),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(file: &mut File, holder: Holder) -> std::io::Result<()> {
    let text = serde_json::to_string(&holder)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    // Not synced: nobody reads it after the machine's end, and a sync can take longer than all the rest of a start.
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_is_told_about_the_first_and_gets_in_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/lock");
        assert_eq!(holder(&path), None);
        let first = Instance::acquire(&path, 7).await.unwrap();
        assert_eq!(holder(&path), Some(first.holder));
        match Instance::acquire(&path, 8).await {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, Some(first.holder)),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert_eq!(holder(&path), None);
        let second = Instance::acquire(&path, 9).await.unwrap();
        assert_eq!(second.holder.since_ms, 9);
    }

    #[tokio::test]
    async fn an_empty_or_garbled_file_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(holder(&path), None);
        assert!(Instance::acquire(&path, 1).await.is_ok());
    }
}
