//! `paused.json`: the workers that take no new turns, by id, so that a pause outlives the supervisor. The supervisor
//! writes it when it is asked; a command writes it while none runs. No secret is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use orchestrator_actors::machine::Desired;
use serde::{Deserialize, Serialize};

use crate::config::Paths;
use crate::config::paths::write_private;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    schema: u32,
    workers: BTreeSet<String>,
}

impl Paused {
    /// What cannot be read pauses nobody: serving is the safe side of a lost note.
    pub fn read(paths: &Paths) -> Self {
        std::fs::read_to_string(file(paths))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    pub fn has(&self, worker: &str) -> bool {
        self.workers.contains(worker)
    }

    /// False when it was so already.
    pub fn set(&mut self, worker: &str, paused: bool) -> bool {
        if paused {
            self.workers.insert(worker.to_owned())
        } else {
            self.workers.remove(worker)
        }
    }

    pub fn write(&mut self, paths: &Paths) -> Result<(), String> {
        self.schema = 1;
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        write_private(&file(paths), text.as_bytes()).map_err(|error| error.to_string())
    }

    /// Marks the workers of a configuration.
    pub(super) fn mark(&self, desired: &mut Desired) {
        for worker in &mut desired.workers {
            worker.paused = self.has(worker.id().as_str());
        }
    }
}

fn file(paths: &Paths) -> PathBuf {
    Path::new(&paths.state).join("paused.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_and_garbage_pauses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::resolve(
            &|name| (name == "HOME").then(|| folder.path().to_owned()),
            None,
            None,
        )
        .unwrap();
        let mut paused = Paused::read(&paths);
        assert!(paused.set("w1", true) && !paused.set("w1", true));
        paused.write(&paths).unwrap();
        assert!(Paused::read(&paths).has("w1"));
        std::fs::write(file(&paths), "{").unwrap();
        assert!(!Paused::read(&paths).has("w1"));
    }
}
