//! Looks at workers' directories, which may lie on a file system that does not answer (a network mount after the machine
//! slept): a look takes a moment or counts as a directory that cannot be used, and what still hangs is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::inspect;

/// A disk that spins up takes a few seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// What a look found: the real path, or why it cannot be used.
pub(super) type Look = Result<PathBuf, String>;

#[derive(Debug, Default)]
pub(super) struct Directories {
    under_way: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Directories {
    pub async fn look(&self, paths: impl IntoIterator<Item = PathBuf>) -> BTreeMap<PathBuf, Look> {
        let looks = paths
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(async |path| {
                let look = self.one(path.clone(), LIMIT, real).await;
                (path, look)
            });
        join_all(looks).await.into_iter().collect()
    }

    async fn one(&self, path: PathBuf, limit: Duration, inspect: fn(&Path) -> Look) -> Look {
        let under_way = Arc::clone(&self.under_way);
        if !lock(&under_way).insert(path.clone()) {
            return Err(no_answer(&path));
        }
        let asked = path.clone();
        let look = tokio::task::spawn_blocking(move || {
            let look = inspect(&asked);
            lock(&under_way).remove(&asked);
            look
        });
        match tokio::time::timeout(limit, look).await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) => Err(format!("{}: {error}", path.display())),
            Err(_) => Err(no_answer(&path)),
        }
    }
}

fn real(path: &Path) -> Look {
    inspect(&path.display().to_string(), path)
}

fn no_answer(path: &Path) -> String {
    format!(
        "working directory {} does not answer: is its file system mounted and reachable?",
        path.display()
    )
}

fn lock(paths: &Mutex<BTreeSet<PathBuf>>) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody writes to stands for a mount that does not answer.
    fn hangs(path: &Path) -> Look {
        std::fs::read(path)
            .map(|_| path.to_owned())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_directory_that_does_not_answer_is_broken_and_not_asked_twice() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let directories = Directories::default();
        for _ in 0..2 {
            let look = directories
                .one(pipe.clone(), Duration::from_millis(20), hangs)
                .await;
            assert!(look.unwrap_err().contains("does not answer"));
        }
        assert_eq!(lock(&directories.under_way).len(), 1);
        // It answers: the look ends, and the next one is asked.
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        while !lock(&directories.under_way).is_empty() {
            tokio::task::yield_now().await;
        }
        let looks = directories
            .look([folder.path().to_owned(), pipe.clone()])
            .await;
        assert!(looks[folder.path()].is_ok());
        assert!(
            looks[&pipe]
                .as_ref()
                .unwrap_err()
                .contains("not a directory")
        );
    }
}
