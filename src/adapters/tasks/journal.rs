//! The task journal: one small file, replaced in one step and synced, so that after a kill it holds either the phase
//! before or the phase after, whole. One that cannot be read is kept aside and told: a task must not be forgotten silently.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator_actors::domain::task::Entry;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{JournalError, TaskJournal};
use tokio::sync::Mutex;

#[derive(Clone, Debug)]
pub struct FileJournal {
    path: PathBuf,
    /// One access at a time: a write that nobody waits for any more is done before its successor reads.
    turn: Arc<Mutex<()>>,
}

impl FileJournal {
    /// Its folder is made when it is first written.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            turn: Arc::default(),
        }
    }

    fn blocking<T: Send + 'static>(
        &self,
        verb: &'static str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Pending<Result<T, JournalError>> {
        let (path, turn) = (self.path.clone(), self.turn.clone());
        Box::pin(async move {
            let turn = turn.lock_owned().await;
            let failed = |why: String| JournalError(format!("could not {verb} {why}"));
            let shown = path.display().to_string();
            let done = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work(&path)
            });
            let done = done.await;
            let done = done.map_err(|error| failed(format!("{shown}: {error}")))?;
            done.map_err(|error| failed(format!("{shown}: {error}")))
        })
    }
}

impl TaskJournal for FileJournal {
    fn write(&self, entry: Entry) -> Pending<Result<(), JournalError>> {
        self.blocking("write", move |path| {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let aside = path.with_extension("new");
            let mut file = File::create(&aside)?;
            file.write_all(&serde_json::to_vec(&entry)?)?;
            file.sync_data()?;
            fs::rename(&aside, path)?;
            File::open(folder)?.sync_data()
        })
    }

    fn clear(&self) -> Pending<Result<(), JournalError>> {
        self.blocking("remove", |path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    fn read(&self) -> Pending<Result<Option<Entry>, JournalError>> {
        self.blocking("read", |path| {
            let bytes = match fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            match serde_json::from_slice(&bytes) {
                Ok(entry) => Ok(Some(entry)),
                Err(error) => {
                    let aside = path.with_extension("damaged");
                    fs::rename(path, &aside)?;
                    tracing::error!(%error, kept = %aside.display(), "the task journal is damaged");
                    Ok(None)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::task::Phase;

    use super::*;

    fn entry(attempt: u32) -> Entry {
        Entry {
            lease: "l".to_owned(),
            task: "t".to_owned(),
            description: "日本語\n".to_owned(),
            attempt,
            phase: Phase::Pulled,
        }
    }

    #[tokio::test]
    async fn the_last_entry_is_there_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let journal = FileJournal::at(folder.path().join("tasks/w1.json"));
        assert_eq!(journal.read().await.unwrap(), None);
        for attempt in 1..=3 {
            journal.write(entry(attempt)).await.unwrap();
        }
        assert_eq!(journal.read().await.unwrap(), Some(entry(3)));
        journal.clear().await.unwrap();
        journal.clear().await.unwrap();
        assert_eq!(journal.read().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_damaged_one_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w1.json");
        fs::write(&path, "{\"lease\": \"l\", \"ta").unwrap();
        let journal = FileJournal::at(&path);
        assert_eq!(journal.read().await.unwrap(), None);
        assert!(path.with_extension("damaged").exists());
        journal.write(entry(1)).await.unwrap();
        assert_eq!(journal.read().await.unwrap(), Some(entry(1)));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let journal = FileJournal::at(folder.path().join("file/w1.json"));
        let error = journal.write(entry(1)).await.unwrap_err();
        assert!(error.to_string().contains("file/w1.json"), "{error}");
    }
}
