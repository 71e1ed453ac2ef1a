//! `--watch`: looks at the folder of the configuration, because editors replace files instead of writing into them, and
//! says when the file's content is another one. Where it is a link, the folder of what it leads to is looked at, too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{Debouncer, RecommendedCache, new_debouncer};
use tokio::sync::mpsc;

/// An editor's write takes several steps.
const CALM: Duration = Duration::from_millis(300);

pub(super) struct FileWatch {
    changed: mpsc::Receiver<()>,
    path: PathBuf,
    seen: Option<Vec<u8>>,
    _watcher: Debouncer<RecommendedWatcher, RecommendedCache>,
}

impl FileWatch {
    pub fn start(path: &Path) -> Result<Self, String> {
        let (tell, changed) = mpsc::channel(1);
        let mut watcher = new_debouncer(CALM, None, move |_| {
            // One waiting note is enough: the file is read when it is taken.
            let _ = tell.try_send(());
        })
        .map_err(|error| failed(path, &error))?;
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut folders: Vec<&Path> = [path, &target].iter().filter_map(|p| p.parent()).collect();
        folders.dedup();
        for folder in folders {
            watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .map_err(|error| failed(path, &error))?;
        }
        Ok(Self {
            changed,
            path: path.to_owned(),
            seen: std::fs::read(path).ok(),
            _watcher: watcher,
        })
    }

    /// Until the content is another one than at the last time. May be given up and called again.
    pub async fn next(&mut self) {
        loop {
            if self.changed.recv().await.is_none() {
                return std::future::pending().await;
            }
            let now = std::fs::read(&self.path).ok();
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn failed(path: &Path, error: &notify::Error) -> String {
    format!("cannot watch {}: {error}", path.display())
}
