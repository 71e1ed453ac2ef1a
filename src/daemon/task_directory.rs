//! The right of a task to work in its directory alone: the directory's lock, taken by this process for the length of an
//! attempt. Whoever drops it may do so while the assistant still dies (a panic, a loop that was killed); so the lock is let
//! go only when the task's own lock is free, which the assistant's warden holds until nothing of it lives.

use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_actors::domain::task::Isolation;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{Directory, Held, Wanted};

use crate::adapters::oneshot;
use crate::adapters::process::directories::{self, Directories};
use crate::adapters::process::lease::{DirectoryUse, Lease, LeaseError, LeaseSpec};
use crate::adapters::process::marker::{Marker, sweep};

/// For what carries a task's marker and has no warden any more.
const SWEEP: Duration = Duration::from_secs(2);
/// How often a warden that takes its time is looked for, at first and at last.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LONGEST: Duration = Duration::from_secs(1);

pub(super) struct TaskDirectory {
    pub locks: PathBuf,
    pub place: PathBuf,
    pub directories: Directories,
    /// Tasks have work trees of their own, so that the directory is everybody's.
    pub has_own_trees: bool,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
}

impl Directory for TaskDirectory {
    fn try_take(&self, wanted: Wanted) -> Pending<Result<Option<Held>, String>> {
        let has_own_tree = match &wanted.isolation {
            Some(isolation) => matches!(isolation, Isolation::Worktree(_)),
            None => self.has_own_trees,
        };
        let assistant = oneshot::lock_of(&self.run_dir, &wanted.task);
        let marker = wanted
            .after_restart
            .then(|| oneshot::marker_of(&self.state_dir, &wanted.task));
        let (locks, place) = (self.locks.clone(), self.place.clone());
        let directories = self.directories.clone();
        let (run_dir, task) = (self.run_dir.clone(), wanted.task.clone());
        Box::pin(async move {
            let taken = tokio::task::spawn_blocking(move || {
                let lock = (!has_own_tree).then(|| directories::lock_of(&locks, &place));
                if lock
                    .as_ref()
                    .is_some_and(|lock| directories.is_waited_for(lock))
                {
                    return Ok(None);
                }
                let directory = lock.map(|lock| (lock, DirectoryUse::Exclusive));
                if !is_gone(&assistant, marker.as_ref())? {
                    return Ok(None);
                }
                if marker.is_some() {
                    oneshot::sweep_folders(&run_dir, &task);
                }
                let spec = LeaseSpec {
                    session: None,
                    directory,
                };
                Ok(try_lease(&spec)?.map(|lease| Working {
                    lease: Some(lease),
                    assistant,
                }))
            });
            let taken: Result<Option<Working>, LeaseError> =
                taken.await.map_err(|error| error.to_string())?;
            let taken = taken.map_err(|error| error.to_string())?;
            Ok(taken.map(|working| Box::new(working) as Held))
        })
    }
}

fn try_lease(spec: &LeaseSpec) -> Result<Option<Lease>, LeaseError> {
    match Lease::try_take(spec) {
        Ok(lease) => Ok(Some(lease)),
        Err(LeaseError::Busy(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether nothing lives of the assistant whose lock this is. With a marker, what it left without a warden is ended first.
fn is_gone(assistant: &Path, marker: Option<&Marker>) -> Result<bool, LeaseError> {
    let spec = LeaseSpec {
        session: Some(assistant.to_owned()),
        directory: None,
    };
    let Some(lease) = try_lease(&spec)? else {
        return Ok(false);
    };
    if let Some(marker) = marker {
        sweep(marker, SWEEP);
    }
    lease.give_back();
    Ok(true)
}

/// A task at work in the directory.
struct Working {
    lease: Option<Lease>,
    assistant: PathBuf,
}

impl Drop for Working {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        if !matches!(is_gone(&self.assistant, None), Ok(false)) {
            return;
        }
        let assistant = std::mem::take(&mut self.assistant);
        // Without a runtime the process ends, and with it the lock.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut pause = LOOK_FIRST;
                while matches!(is_gone(&assistant, None), Ok(false)) {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LOOK_LONGEST);
                }
                drop(lease);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::ids::TaskId;

    use super::*;

    fn directory(folder: &Path) -> TaskDirectory {
        TaskDirectory {
            locks: folder.join("run/locks"),
            place: folder.join("work"),
            directories: Directories::default(),
            has_own_trees: false,
            state_dir: folder.to_owned(),
            run_dir: folder.join("run"),
        }
    }

    /// As the warden of the task's assistant holds it.
    fn warden(folder: &Path, task: &TaskId) -> Lease {
        let spec = LeaseSpec {
            session: Some(oneshot::lock_of(&folder.join("run"), task)),
            directory: None,
        };
        Lease::try_take(&spec).unwrap()
    }

    /// As a chat of the directory takes it.
    fn chat_gets_in(directory: &TaskDirectory) -> bool {
        let spec = LeaseSpec {
            session: None,
            directory: Some((
                directories::lock_of(&directory.locks, &directory.place),
                DirectoryUse::Shared,
            )),
        };
        Lease::try_take(&spec).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_is_given_free_when_the_tasks_assistant_is_gone_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, task) = (directory(folder.path()), TaskId::new("t1"));
        let wanted = Wanted::for_an_attempt(&task);
        let held = directory.try_take(wanted.clone()).await.unwrap().unwrap();
        assert!(!chat_gets_in(&directory));
        let dying = warden(folder.path(), &task);
        drop(held);
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert!(!chat_gets_in(&directory), "the assistant still dies");
        drop(dying);
        tokio::time::sleep(LOOK_LONGEST * 2).await;
        assert!(chat_gets_in(&directory));
        // Without an assistant it is free at once.
        drop(directory.try_take(wanted).await.unwrap().unwrap());
        assert!(chat_gets_in(&directory));
    }

    #[tokio::test]
    async fn a_task_is_not_taken_up_again_while_its_assistant_still_dies() {
        let folder = tempfile::tempdir().unwrap();
        let (mut directory, task) = (directory(folder.path()), TaskId::new("t1"));
        let dying = warden(folder.path(), &task);
        let mut wanted = Wanted::for_an_attempt(&task);
        wanted.after_restart = true;
        assert!(directory.try_take(wanted.clone()).await.unwrap().is_none());
        drop(dying);
        let left =
            oneshot::Folder::make(&folder.path().join("run"), "goose", &oneshot::key_of(&task));
        let left = std::mem::ManuallyDrop::new(left.unwrap());
        let held = directory.try_take(wanted.clone()).await.unwrap().unwrap();
        assert!(!chat_gets_in(&directory));
        assert!(!left.path().exists(), "the conversation of a killed run");
        drop(held);
        // How the attempt began counts, not what the settings say by then.
        wanted.isolation = Some(Isolation::Worktree("/trees".into()));
        let held = directory.try_take(wanted.clone()).await.unwrap().unwrap();
        assert!(chat_gets_in(&directory));
        drop(held);
        directory.has_own_trees = true;
        wanted.isolation = Some(Isolation::Off);
        let _held = directory.try_take(wanted).await.unwrap().unwrap();
        assert!(!chat_gets_in(&directory));
    }
}
