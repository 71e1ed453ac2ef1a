//! The port `Outbox` as a file: finishes that the deployment has not acknowledged.
//!
//! Append-only lines with a checksum each (`line`); a put is on disk when it resolves, an acknowledgement is a
//! tombstone line. The file is rewritten when most of it is dead. Damaged lines are kept aside and reported
//! once, never fatal: what can be read goes out. At 64 MiB of pending records a put says that it is full.
//! Only one process may have it open: the supervisor's single-instance lock sees to that.

mod file;
mod line;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_actors::domain::ids::{TurnId, WorkerId};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox, OutboxError};
use tokio::task::spawn_blocking;

use self::file::OutboxFile;

/// The most bytes of pending records.
pub const MAX_PENDING_BYTES: u64 = 64 * 1024 * 1024;

/// What was unreadable when the outbox was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub lines: usize,
    pub first_line: usize,
    /// The lines are kept here; `None` when that failed, too.
    pub kept_in: Option<PathBuf>,
}

pub struct FileOutbox {
    /// Locked over disk writes: by blocking tasks only.
    file: Arc<Mutex<OutboxFile>>,
    /// What the file holds, as of the last change; never locked over anything slow.
    pending: Arc<Mutex<Vec<Arc<FinishRecord>>>>,
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
                "outbox had damaged lines"
            );
        }
        Ok(Self {
            pending: Arc::new(Mutex::new(file.records())),
            file: Arc::new(Mutex::new(file)),
            damage,
        })
    }

    /// What was damaged when it was opened.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    fn blocking(
        &self,
        work: impl FnOnce(&mut OutboxFile) -> Result<(), OutboxError> + Send + 'static,
    ) -> Pending<Result<(), OutboxError>> {
        let (file, pending) = (Arc::clone(&self.file), Arc::clone(&self.pending));
        // Started here, not when it is first awaited: a caller that ends must not undo a finish.
        let task = spawn_blocking(move || {
            let mut file = lock(&file);
            let result = work(&mut file);
            *lock(&pending) = file.records();
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
        self.blocking(move |file| file.put(record))
    }

    fn acknowledge(&self, turn: TurnId) -> Pending<Result<(), OutboxError>> {
        self.blocking(move |file| file.acknowledge(&turn))
    }

    fn pending(&self, worker: &WorkerId) -> Vec<FinishRecord> {
        let pending = lock(&self.pending).clone();
        let of_worker = pending.iter().filter(|record| record.worker == *worker);
        of_worker
            .map(|record| FinishRecord::clone(record))
            .collect()
    }

    fn depth(&self) -> usize {
        lock(&self.pending).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
