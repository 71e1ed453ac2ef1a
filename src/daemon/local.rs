//! What `run --local` does before the tree starts: the machine is registered with the embedded deployment, and every
//! directory gets a worker, approved at once. Its token is kept (`tokens.json`, 0600), so that the next start is the same
//! worker with the same sessions; one that is lost is replaced by another for the same worker.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::domain::turn::OnInterrupt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::announce::Announce;
use super::compose::{KnownMachine, named_by, new_worker_id, register_machine};
use super::embedded::Embedded;
use super::error::RunError;
use super::options::LocalOptions;
use crate::adapters::aside::set_aside;
use crate::adapters::convex::{ClientError, OwnerClient};
use crate::config::paths::write_private;
use crate::config::{DEFAULT_IDLE_TIMEOUT_MS, DEFAULT_MAX_SESSIONS, WorkerEntry, WorkersConfig};

const TIMEOUT: Duration = Duration::from_secs(15);

/// The kept tokens.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tokens {
    schema: u32,
    workers: Vec<Kept>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    directory: PathBuf,
    name: String,
    token: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// A directory that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Absolute, without links.
    There(PathBuf),
    Missing {
        given: String,
        reason: String,
    },
}

/// Looks at the directories of the command line; one that is named twice counts once.
pub(super) fn look(directories: &[PathBuf]) -> Vec<Asked> {
    let mut found: Vec<Asked> = Vec::new();
    for given in directories {
        let asked = match std::fs::canonicalize(given) {
            Ok(path) if path.is_dir() => Asked::There(path),
            Ok(_) => missing(given, "is not a directory"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing(given, "does not exist")
            }
            Err(error) => missing(given, &format!("cannot be used: {error}")),
        };
        if !found.contains(&asked) {
            found.push(asked);
        }
    }
    found
}

fn missing(given: &Path, why: &str) -> Asked {
    let given = given.display().to_string();
    Asked::Missing {
        reason: format!("working directory {given} {why}"),
        given,
    }
}

/// Makes the workers of the directories that are there, and gives the configuration to serve.
pub(super) async fn prepare(
    embedded: &Embedded,
    folder: &Path,
    machine: &KnownMachine,
    directories: &[PathBuf],
    local: &LocalOptions,
    announce: &dyn Announce,
) -> Result<WorkersConfig, RunError> {
    let url = embedded.url.clone();
    let client = OwnerClient::connect(url.as_str(), Arc::clone(&embedded.owner) as _, TIMEOUT)
        .await
        .map_err(refused)?;
    let of_machine = json!({"machineId": machine.id});
    let (registered, known) = tokio::join!(
        client.query("machines:get", of_machine.clone()),
        client.query("workers:list", of_machine),
    );
    let registered = registered.map_err(refused)?;
    let known = match known {
        // Of a machine that is not registered there is none.
        Err(ClientError::Refused { code, .. }) if code == "not_found" => json!([]),
        known => known.map_err(refused)?,
    };
    // A later start finds everything as it should be, and writes nothing: each commit waits for the disk.
    if !is_current(&registered, machine) {
        register_machine(&client, machine).await.map_err(refused)?;
    }
    let path = folder.join("tokens.json");
    let (mut tokens, damage) = read(&path)?;
    if let Some(damage) = damage {
        tracing::warn!(%damage, "the kept tokens were damaged");
        announce.notice(&damage);
    }
    let mut workers: Vec<WorkerEntry> = Vec::new();
    for directory in directories {
        let taken: Vec<&str> = workers.iter().map(|entry| entry.name.as_str()).collect();
        let name = unique_name(directory, &taken);
        let kept = if let Some(kept) = kept(&tokens, directory, machine, &known) {
            kept
        } else {
            let made = match worker_of(&known, directory) {
                Some(worker) => renew(&client, worker, directory, &name).await?,
                None => create(&client, machine, directory, &name).await?,
            };
            tokens.workers.retain(|entry| entry.directory != *directory);
            tokens.workers.push(made.clone());
            // Kept before it is approved: a crash in between must not lose the only copy.
            let text = serde_json::to_vec_pretty(&tokens).unwrap_or_default();
            write_private(&path, &text).map_err(|error| RunError::Setup(error.to_string()))?;
            made
        };
        let entry = entry(kept, directory, name, &url, local)?;
        let state = state_of(&known, entry.token.worker().as_str());
        if !matches!(state, Some("approved" | "revoked")) {
            let args = json!({"workerId": entry.token.worker()});
            client
                .mutation("workers:approve", args)
                .await
                .map_err(refused)?;
        }
        workers.push(entry);
    }
    Ok(WorkersConfig {
        workers,
        ..WorkersConfig::default()
    })
}

/// Whether what the deployment knows of the machine is what we would tell it.
fn is_current(registered: &Value, machine: &KnownMachine) -> bool {
    registered["name"] == machine.name.as_str()
        && registered["hostname"] == machine.identity.hostname.as_str()
        && registered["os"] == machine.identity.os.as_str()
        && registered["tools"] == json!(machine.tools)
}

/// The token of this directory, if the deployment still knows its worker as one of this machine.
fn kept(tokens: &Tokens, directory: &Path, machine: &KnownMachine, known: &Value) -> Option<Kept> {
    let kept = tokens
        .workers
        .iter()
        .find(|entry| entry.directory == directory)?;
    let token = WorkerToken::parse(&kept.token).ok()?;
    let is_ours = token.machine().as_str() == machine.id;
    (is_ours && state_of(known, token.worker().as_str()).is_some()).then(|| kept.clone())
}

fn state_of<'v>(known: &'v Value, worker: &str) -> Option<&'v str> {
    known
        .as_array()?
        .iter()
        .find(|row| row["workerId"] == worker)?["state"]
        .as_str()
}

/// The directory's worker whose token is lost. Its chats are worth a new one.
fn worker_of<'v>(known: &'v Value, directory: &Path) -> Option<&'v str> {
    let mut rows = known.as_array()?.iter();
    let path = directory.display().to_string();
    let row = rows.find(|row| row["directory"] == path.as_str() && row["state"] == "approved")?;
    row["workerId"].as_str()
}

async fn renew(
    client: &OwnerClient,
    worker: &str,
    directory: &Path,
    name: &str,
) -> Result<Kept, RunError> {
    let args = json!({ "workerId": worker });
    let rotated = client
        .mutation("workers:rotate", args)
        .await
        .map_err(refused)?;
    Ok(Kept {
        directory: directory.to_owned(),
        name: name.to_owned(),
        token: rotated["token"].as_str().unwrap_or_default().to_owned(),
    })
}

async fn create(
    client: &OwnerClient,
    machine: &KnownMachine,
    directory: &Path,
    name: &str,
) -> Result<Kept, RunError> {
    let args = json!({
        "workerId": new_worker_id(),
        "machineId": machine.id,
        "name": name,
        "directory": directory.display().to_string(),
    });
    let created = client
        .mutation("workers:create", args)
        .await
        .map_err(refused)?;
    let token = created["token"].as_str().unwrap_or_default().to_owned();
    Ok(Kept {
        directory: directory.to_owned(),
        name: name.to_owned(),
        token,
    })
}

fn entry(
    kept: Kept,
    directory: &Path,
    name: String,
    url: &DeploymentUrl,
    local: &LocalOptions,
) -> Result<WorkerEntry, RunError> {
    let token = WorkerToken::parse(&kept.token)
        .map_err(|error| RunError::Setup(format!("the deployment gave a bad token: {error}")))?;
    Ok(WorkerEntry {
        name,
        token: Arc::new(token),
        directory: directory.to_owned(),
        url: url.clone(),
        idle_timeout_ms: DEFAULT_IDLE_TIMEOUT_MS,
        max_sessions: DEFAULT_MAX_SESSIONS,
        on_interrupt: OnInterrupt::default(),
        tasks: Arc::default(),
        notify: local.notify.clone(),
        permissions: local.permissions.clone(),
        answer_timeout_ms: local.answer_timeout_ms,
        broken: None,
    })
}

fn unique_name(directory: &Path, taken: &[&str]) -> String {
    let stem = directory.file_name().map_or_else(
        || "root".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let mut name = stem.clone();
    let mut number = 2;
    while taken.contains(&name.as_str()) {
        name = format!("{stem}-{number}");
        number += 1;
    }
    name
}

/// A damaged file is set aside; the second value says so, for people.
fn read(path: &Path) -> Result<(Tokens, Option<String>), RunError> {
    let none = || Tokens {
        schema: 1,
        workers: Vec::new(),
    };
    let reason = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((none(), None)),
        Err(error) if !path.is_dir() => {
            return Err(RunError::Setup(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
        Err(error) => error.to_string(),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(tokens) => return Ok((tokens, None)),
            Err(error) => format!("{}:{}", error.line(), error.column()),
        },
    };
    let kept = set_aside(path).map_err(|error| {
        RunError::Setup(format!(
            "{} is damaged and cannot be moved away: {error}",
            path.display()
        ))
    })?;
    let notice = format!(
        "{} was damaged ({reason}): it is kept in {}, and its directories got new tokens",
        path.display(),
        kept.display()
    );
    Ok((none(), Some(notice)))
}

/// The token of the worker whose directory this one is in, the deepest if there are several.
pub fn local_token(folder: &Path, here: &Path) -> Option<WorkerToken> {
    let text = std::fs::read_to_string(folder.join("tokens.json")).ok()?;
    let tokens: Tokens = serde_json::from_str(&text).ok()?;
    let workers = tokens.workers.into_iter();
    let deepest = workers
        .filter(|kept| here.starts_with(&kept.directory))
        .max_by_key(|kept| kept.directory.components().count())?;
    WorkerToken::parse(&deepest.token).ok()
}

/// What the kept tokens call this machine, if they agree.
pub(super) fn machine_of(folder: &Path) -> Option<uuid::Uuid> {
    let text = std::fs::read_to_string(folder.join("tokens.json")).ok()?;
    let tokens: Tokens = serde_json::from_str(&text).ok()?;
    let tokens: Vec<WorkerToken> = tokens
        .workers
        .iter()
        .filter_map(|kept| WorkerToken::parse(&kept.token).ok())
        .collect();
    named_by(&tokens)
}

fn refused(error: ClientError) -> RunError {
    match error {
        ClientError::Unreachable { url, reason } => RunError::Unreachable { url, reason },
        other => RunError::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_count_once_and_missing_ones_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let file = real.join("file");
        std::fs::write(&file, "").unwrap();
        let asked = look(&[real.clone(), real.join("."), real.join("no"), file]);
        assert_eq!(asked.len(), 3);
        assert_eq!(asked[0], Asked::There(real.clone()));
        match &asked[1] {
            Asked::Missing { reason, .. } => assert!(reason.ends_with("no does not exist")),
            Asked::There(_) => panic!("{asked:?}"),
        }
    }

    #[test]
    fn a_token_is_used_again_only_for_a_worker_that_is_still_known() {
        let tokens = Tokens {
            schema: 1,
            workers: vec![Kept {
                directory: PathBuf::from("/a"),
                name: "a".to_owned(),
                token: "machine_m1:worker_w1:secret_s".to_owned(),
            }],
        };
        let machine = |id: &str| KnownMachine {
            identity: serde_json::from_value(json!({
                "machineId": "67e55044-10b1-426f-9247-bb680e5fe0c8", "hostname": "h", "os": "linux"
            }))
            .unwrap(),
            id: id.to_owned(),
            name: "n".to_owned(),
            tools: Vec::new(),
        };
        let known = json!([{"workerId": "w1", "state": "approved"}]);
        assert!(kept(&tokens, Path::new("/a"), &machine("m1"), &known).is_some());
        assert!(kept(&tokens, Path::new("/a"), &machine("m2"), &known).is_none());
        assert!(kept(&tokens, Path::new("/a"), &machine("m1"), &json!([])).is_none());
        assert!(kept(&tokens, Path::new("/b"), &machine("m1"), &known).is_none());
        assert!(!format!("{tokens:?}").contains("secret"));
    }

    #[test]
    fn a_machine_is_registered_again_when_something_of_it_changed() {
        let mut machine = KnownMachine {
            identity: serde_json::from_value(json!({
                "machineId": "67e55044-10b1-426f-9247-bb680e5fe0c8", "hostname": "h", "os": "linux"
            }))
            .unwrap(),
            id: "m1".to_owned(),
            name: "n".to_owned(),
            tools: vec!["opencode".to_owned()],
        };
        let registered =
            json!({"name": "n", "hostname": "h", "os": "linux", "tools": ["opencode"]});
        assert!(is_current(&registered, &machine));
        assert!(!is_current(&Value::Null, &machine));
        machine.tools.clear();
        assert!(!is_current(&registered, &machine));
    }

    #[test]
    fn two_directories_of_one_name_are_told_apart() {
        assert_eq!(unique_name(Path::new("/a/shop"), &[]), "shop");
        assert_eq!(unique_name(Path::new("/b/shop"), &["shop"]), "shop-2");
        assert_eq!(unique_name(Path::new("/"), &[]), "root");
    }
}
