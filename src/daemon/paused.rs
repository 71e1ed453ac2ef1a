//! `paused.json`: the workers that take no new turns, by id, so that a pause outlives the supervisor. The supervisor
//! writes it when it is asked; a command writes it while none runs. No secret is in it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use orchestrator_actors::machine::Desired;
use serde::{Deserialize, Serialize};

use crate::adapters::aside::set_aside;
use crate::config::Paths;
use crate::config::paths::write_private;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    schema: u32,
    workers: BTreeSet<String>,
}

impl Paused {
    /// A damaged file is set aside, and nobody is paused: serving is the safe side of a lost note. The second value says so, for
    /// people. An error when it cannot be read just now: it is not touched then.
    pub fn read(paths: &Paths) -> Result<(Self, Option<String>), String> {
        let path = file(paths);
        let reason = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((Self::default(), None));
            }
            Err(error) if error.kind() == ErrorKind::IsADirectory => error.to_string(),
            Err(error) => {
                let path = path.display();
                return Err(format!(
                    "{path} cannot be read: {error}; it says which workers are paused"
                ));
            }
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(paused) => return Ok((paused, None)),
                Err(error) => format!("{}:{}", error.line(), error.column()),
            },
        };
        let place = match set_aside(&path) {
            Ok(kept) => format!("it is kept in {}", kept.display()),
            Err(error) => format!("it cannot be moved away: {error}"),
        };
        let notice = format!(
            "{} was damaged ({reason}): {place}; no worker is paused, pause again which should be: \
             orchestrator worker pause NAME",
            path.display()
        );
        Ok((Self::default(), Some(notice)))
    }

    /// For whoever has nobody to tell: the log hears of damage.
    pub(super) fn read_and_log(paths: &Paths) -> Result<Self, String> {
        let (paused, damage) = Self::read(paths)?;
        if let Some(damage) = damage {
            tracing::warn!(%damage, "the list of paused workers was damaged");
        }
        Ok(paused)
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
    fn it_is_kept_and_a_damaged_one_is_set_aside_told_once_and_pauses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::resolve(
            &|name| (name == "HOME").then(|| folder.path().to_owned()),
            None,
            None,
        )
        .unwrap();
        let (mut paused, damage) = Paused::read(&paths).unwrap();
        assert_eq!(damage, None);
        assert!(paused.set("w1", true) && !paused.set("w1", true));
        paused.write(&paths).unwrap();
        assert!(Paused::read(&paths).unwrap().0.has("w1"));
        std::fs::write(file(&paths), "{").unwrap();
        let (paused, damage) = Paused::read(&paths).unwrap();
        assert!(!paused.has("w1"));
        let damage = damage.unwrap();
        assert!(damage.contains("paused.json.damaged-1"), "{damage}");
        assert!(paths.state.join("paused.json.damaged-1").exists());
        assert_eq!(Paused::read(&paths).unwrap().1, None);
        std::fs::create_dir(file(&paths)).unwrap();
        let (mut paused, damage) = Paused::read(&paths).unwrap();
        assert!(damage.is_some_and(|damage| damage.contains("damaged-2")));
        paused.set("w1", true);
        paused.write(&paths).unwrap();
    }
}
