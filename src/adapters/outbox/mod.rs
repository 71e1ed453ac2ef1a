//! The port `Outbox` as a file: finishes that the deployment has not acknowledged.
//!
//! Append-only lines with a checksum each (`line`); a put is on disk when it resolves, an acknowledgement is a
//! tombstone line. The file is rewritten when most of it is dead. What cannot be read is set aside (`load`) and told
//! once; a disk that takes nothing leaves the outbox in memory until it takes something again. Neither stops a turn. At
//! 64 MiB of pending records a put says that it is full. Records of workers that are not configured any more are kept, but
//! not counted, and they give way when it is full.
//! Only one process may have it open: the supervisor's single-instance lock sees to that.

mod file;
mod line;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_actors::domain::ids::{TurnId, WorkerId};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox, OutboxError};
use tokio::task::spawn_blocking;

use self::file::OutboxFile;

/// The most bytes of pending records.
pub const MAX_PENDING_BYTES: u64 = 64 * 1024 * 1024;

/// What was unreadable when the outbox was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    pub lines: usize,
    pub first_line: usize,
    /// It is kept here; `None` when there is nothing, or that failed, too.
    pub kept_in: Option<PathBuf>,
    /// Why there was no file to read, or why there is none to write.
    pub trouble: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines > 0 {
            let plural = if self.lines == 1 { "" } else { "s" };
            write!(f, "the outbox had {} damaged line{plural}", self.lines)?;
        } else {
            write!(f, "the outbox could not be used")?;
        }
        if let Some(trouble) = &self.trouble {
            write!(f, " ({trouble})")?;
        }
        match &self.kept_in {
            Some(path) => write!(f, ", kept in {}", path.display())?,
            None if self.lines > 0 => write!(f, ", they could not be kept")?,
            None => {}
        }
        write!(
            f,
            "; a turn whose finish was in it is settled from the assistant's store"
        )
    }
}

pub struct FileOutbox {
    /// Locked over disk writes: by blocking tasks only.
    file: Arc<Mutex<OutboxFile>>,
    /// As of the last change.
    depth: Arc<AtomicUsize>,
    damage: Option<Damage>,
}

impl FileOutbox {
    /// Opens or creates the outbox. Blocks on the disk.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        Self::open_bounded(path, MAX_PENDING_BYTES)
    }

    fn open_bounded(path: &Path, max_pending: u64) -> Result<Self, OutboxError> {
        let (file, damage) = OutboxFile::open(path, max_pending)?;
        if let Some(damage) = &damage {
            tracing::warn!(
                outbox = %path.display(),
                lines = damage.lines,
                first_line = damage.first_line,
                kept_in = ?damage.kept_in,
                trouble = damage.trouble.as_deref(),
                "outbox was damaged"
            );
        }
        Ok(Self {
            depth: Arc::new(AtomicUsize::new(file.depth())),
            file: Arc::new(Mutex::new(file)),
            damage,
        })
    }

    /// What was damaged when it was opened.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Whose records count from now on. Of how many workers there are others, and how many. Waits for writes under way.
    pub fn serve(&self, workers: BTreeSet<WorkerId>) -> (usize, usize) {
        let mut file = lock(&self.file);
        let strays = file.serve(workers);
        self.depth.store(file.depth(), Ordering::Release);
        strays
    }

    fn blocking(
        &self,
        work: impl FnOnce(&mut OutboxFile) -> Result<(), OutboxError> + Send + 'static,
    ) -> Pending<Result<(), OutboxError>> {
        let (file, depth) = (Arc::clone(&self.file), Arc::clone(&self.depth));
        // Started here, not when it is first awaited: a caller that ends must not undo a finish.
        let task = spawn_blocking(move || {
            let mut file = lock(&file);
            let result = work(&mut file);
            depth.store(file.depth(), Ordering::Release);
            result
        });
        Box::pin(async move {
            task.await.unwrap_or_else(|error| {
                Err(OutboxError(format!("the outbox's task ended: {error}")))
            })
        })
    }
}

impl Outbox for FileOutbox {
    fn put(&self, record: FinishRecord) -> Pending<Result<(), OutboxError>> {
        self.blocking(move |file| file.put(&record))
    }

    fn acknowledge(&self, turn: TurnId) -> Pending<Result<(), OutboxError>> {
        self.blocking(move |file| file.acknowledge(&turn))
    }

    fn pending(&self, worker: &WorkerId) -> Vec<FinishRecord> {
        lock(&self.file).records(worker)
    }

    fn depth(&self) -> usize {
        self.depth.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
