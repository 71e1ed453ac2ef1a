//! The models that a worker can name, kept in the state folder: asking takes an assistant, and starting one takes seconds, so a
//! list that is there is shown with its age, also while no supervisor runs. Written by the supervisor alone, one file a worker.

use std::path::{Path, PathBuf};

use orchestrator_actors::domain::ids::WorkerId;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::running::Running;
use crate::adapters::clock::wall_ms;
use crate::adapters::opencode::Model;
use crate::adapters::process::marker::file_key;
use crate::config::Paths;
use crate::config::paths::write_private;
use crate::control::Refusal;
use crate::control::report::rfc3339;

/// What was asked once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownModels {
    pub schema: u32,
    pub worker: String,
    /// What people call the worker, and where it works.
    pub name: String,
    pub directory: PathBuf,
    /// When it was asked, RFC 3339.
    pub asked_at: String,
    pub models: Vec<Model>,
}

impl KnownModels {
    /// Of one worker; a file that cannot be read counts as none, because it can be asked again.
    pub fn read(paths: &Paths, worker: &str) -> Option<Self> {
        parse(&file(paths, worker))
    }

    /// Of every worker that was ever asked about.
    pub fn all(paths: &Paths) -> Vec<Self> {
        let entries = std::fs::read_dir(folder(paths)).into_iter().flatten();
        let mut known: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| parse(&entry.path()))
            .collect();
        known.sort_by(|a, b| a.worker.cmp(&b.worker));
        known
    }
}

fn parse(path: &Path) -> Option<KnownModels> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn folder(paths: &Paths) -> PathBuf {
    paths.state.join("models")
}

fn file(paths: &Paths, worker: &str) -> PathBuf {
    folder(paths).join(format!("{}.json", file_key(worker)))
}

/// Asks anew and keeps the answer. A disk that takes nothing does not keep anybody from seeing it.
pub(super) async fn ask(running: &Running, worker: &str) -> Result<KnownModels, Refusal> {
    let id = WorkerId::from(worker);
    let desired = running.desired();
    let Some(spec) = desired.workers.iter().find(|spec| *spec.id() == id) else {
        return Err(Refusal::new(
            "unknown_actor",
            format!("worker `{worker}` is not served here"),
        ));
    };
    let models = running.opencode.models(&id, &spec.directory).await;
    let models = models.map_err(|error| Refusal::new("failed", error.to_string()))?;
    let known = KnownModels {
        schema: 1,
        worker: id.to_string(),
        name: spec.name.clone(),
        directory: spec.directory.as_path().to_owned(),
        asked_at: rfc3339(wall_ms()),
        models,
    };
    let (path, kept) = (file(&running.options.paths, worker), known.clone());
    let written = tokio::task::spawn_blocking(move || {
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        write_private(&path, &text)
    });
    if let Ok(Err(error)) = written.await {
        warn!(worker, %error, "the list of models could not be kept");
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_list_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let env = |name: &str| (name == "HOME").then(|| home.clone());
        let paths = Paths::resolve(&env, None, None).unwrap();
        let known = KnownModels {
            schema: 1,
            worker: "w/1".to_owned(),
            name: "shop".to_owned(),
            directory: "/shop".into(),
            asked_at: rfc3339(0),
            models: Vec::new(),
        };
        let text = serde_json::to_vec(&known).unwrap();
        write_private(&file(&paths, "w/1"), &text).unwrap();
        write_private(&file(&paths, "w2"), b"{").unwrap();
        assert_eq!(KnownModels::read(&paths, "w/1").as_ref(), Some(&known));
        assert_eq!(KnownModels::read(&paths, "w2"), None);
        assert_eq!(KnownModels::all(&paths), [known]);
    }
}
