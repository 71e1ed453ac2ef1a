//! Changes `workers.json` for the user without losing a comment: edits go through the concrete syntax tree and replace
//! the file in one step. Two commands that edit at once come one after the other: neither loses the other's entry, which
//! may hold the only copy of a token. A file that is linked to from its place stays linked.
//!
//! Whoever adds entries opens the file with [`Edit::to_add`]: it must be right before, and is right afterwards. The
//! template's placeholder makes room for the first real entry.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstRootNode};
use orchestrator_actors::domain::ids::{DeploymentUrl, MachineId};
use orchestrator_actors::domain::token::WorkerToken;
use thiserror::Error;

use super::load::{jsonc, not_json, parse_begun};
use super::paths::{private_dir, write_private};
use super::place::Base;
use super::problem::ConfigError;
use super::template::PLACEHOLDER;
use super::time::Millis;
use super::url::{UrlRule, deployment_url};
use super::workers::{WorkersConfig, fitting_name};

/// Another command's edit takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

const EMPTY: &str = "{\n  \"workers\": []\n}\n";

#[derive(Debug, Error)]
pub enum EditError {
    /// The file is not right as it is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    File(String),
}

impl From<String> for EditError {
    fn from(reason: String) -> Self {
        Self::File(reason)
    }
}

/// An entry that is not there yet.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    pub token: &'a str,
    pub directory: &'a Path,
    pub url: &'a str,
    /// Without one its directory names it.
    pub name: Option<&'a str>,
    pub idle_timeout_ms: Option<Millis>,
}

impl<'a> NewEntry<'a> {
    pub fn new(token: &'a str, directory: &'a Path, url: &'a str) -> Self {
        Self {
            token,
            directory,
            url,
            name: None,
            idle_timeout_ms: None,
        }
    }

    pub fn named(self, name: Option<&'a str>) -> Self {
        Self { name, ..self }
    }

    pub fn idle_after(self, idle_timeout_ms: Option<Millis>) -> Self {
        Self {
            idle_timeout_ms,
            ..self
        }
    }
}

/// One change of the file, from its reading to its writing.
#[derive(Debug)]
pub struct Edit {
    /// Where it was looked for.
    path: PathBuf,
    /// The file itself, links resolved.
    target: PathBuf,
    root: CstRootNode,
    /// What its workers are called; of a file that was opened to add to it.
    names: Vec<String>,
    _lock: File,
}

impl Edit {
    /// Reads the file, which must be right, and says what stands in it. A missing one is begun, the template is one
    /// without entries.
    pub fn to_add(
        path: &Path,
        base: &Base,
        rule: UrlRule,
    ) -> Result<(Self, WorkersConfig), EditError> {
        let mut edit = Self::open(path)?;
        let config = parse_begun(&edit.root.to_string(), path, base, rule)?;
        for entry in edit.elements() {
            if text_of(&entry, "token").as_deref() == Some(PLACEHOLDER) {
                entry.remove();
            }
        }
        let workers = config.workers.iter();
        edit.names = workers.map(|worker| worker.name.clone()).collect();
        Ok((edit, config))
    }

    /// Reads the file; a missing one is begun with an empty list.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        Self::begin(path, |target| match std::fs::read_to_string(target) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(EMPTY.to_owned()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        })
    }

    /// An empty list in the place of what is there; that is kept beside it.
    pub fn fresh(path: &Path) -> Result<Self, EditError> {
        Self::begin(path, |target| {
            if let Ok(text) = std::fs::read(target) {
                let kept = target.with_extension("json.old");
                write_private(&kept, &text).map_err(|error| error.to_string())?;
            }
            Ok(EMPTY.to_owned())
        })
    }

    fn begin(
        path: &Path,
        text: impl FnOnce(&Path) -> Result<String, String>,
    ) -> Result<Self, EditError> {
        let lock = lock(path)?;
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = text(&target)?;
        let root =
            CstRootNode::parse(&text, &jsonc()).map_err(|error| not_json(&text, path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            target,
            root,
            names: Vec::new(),
            _lock: lock,
        })
    }

    /// Whether there is an entry with a token of this worker.
    pub fn has(&self, worker: &str) -> bool {
        self.entry(worker).is_some()
    }

    /// Adds an entry. Where its name is another worker's, or none that the file may hold, it gets one that is free.
    pub fn append(&mut self, entry: NewEntry<'_>) -> Result<(), String> {
        if let Ok(token) = WorkerToken::parse(entry.token) {
            let worker = token.worker().as_str();
            if let Some(known) = self.entry(worker) {
                let url = text_of(&known, "convex_url").unwrap_or_default();
                return Err(format!(
                    "worker {worker} is in {} already, at {url}: take that entry out, or correct its convex_url",
                    self.path.display()
                ));
            }
        }
        let list = self
            .root
            .object_value_or_create()
            .and_then(|object| object.array_value_or_create("workers"))
            .ok_or_else(|| format!("{} has no list `workers`", self.path.display()))?;
        let text = |text: &str| CstInputValue::String(text.to_owned());
        let mut fields = vec![
            ("token".to_owned(), text(entry.token)),
            (
                "working_directory".to_owned(),
                text(&entry.directory.display().to_string()),
            ),
            ("convex_url".to_owned(), text(entry.url)),
        ];
        if let Some(name) = entry.name {
            let name = fitting_name(name, &self.names);
            fields.push(("name".to_owned(), text(&name)));
            self.names.push(name);
        }
        if let Some(time) = entry.idle_timeout_ms {
            let value = CstInputValue::Number(time.to_string());
            fields.push(("idle_timeout".to_owned(), value));
        }
        list.ensure_multiline();
        list.append(CstInputValue::Object(fields));
        Ok(())
    }

    /// Takes the worker's entry out. False when there is none.
    pub fn remove(&mut self, worker: &str) -> bool {
        let entry = self.entry(worker);
        let found = entry.is_some();
        if let Some(entry) = entry {
            entry.remove();
        }
        found
    }

    /// Another token for the worker's entry. False when there is none.
    pub fn set_token(&mut self, worker: &str, token: &str) -> bool {
        set_token(self.entry(worker), token)
    }

    /// The same for the worker of this deployment: another one may have a worker of the same id.
    pub fn set_token_at(&mut self, worker: &str, url: &DeploymentUrl, token: &str) -> bool {
        let mut entries = self.entries(worker);
        set_token(entries.find(|entry| is_at(entry, url)), token)
    }

    /// Takes out what this machine has at this deployment beyond `workers`; says which ones.
    pub fn keep_only(
        &mut self,
        machine: &MachineId,
        url: &DeploymentUrl,
        workers: &[&str],
    ) -> Vec<String> {
        let mut gone = Vec::new();
        for entry in self.elements() {
            let Some(token) = token_of(&entry) else {
                continue;
            };
            let worker = token.worker().as_str();
            if token.machine() == machine && is_at(&entry, url) && !workers.contains(&worker) {
                gone.push(worker.to_owned());
                entry.remove();
            }
        }
        gone
    }

    pub fn write(self) -> Result<(), String> {
        write_private(&self.target, self.root.to_string().as_bytes())
            .map_err(|error| error.to_string())
    }

    fn workers(&self) -> Option<CstArray> {
        self.root.object_value()?.array_value("workers")
    }

    fn entry(&self, worker: &str) -> Option<CstNode> {
        self.entries(worker).next()
    }

    fn entries(&self, worker: &str) -> impl Iterator<Item = CstNode> {
        let is_meant = move |entry: &CstNode| {
            token_of(entry).is_some_and(|token| token.worker().as_str() == worker)
        };
        self.elements().into_iter().filter(is_meant)
    }

    fn elements(&self) -> Vec<CstNode> {
        let list = self.workers();
        list.map(|list| list.elements()).unwrap_or_default()
    }
}

fn set_token(entry: Option<CstNode>, token: &str) -> bool {
    let property = entry
        .and_then(|entry| entry.as_object())
        .and_then(|entry| entry.get("token"));
    let found = property.is_some();
    if let Some(property) = property {
        property.set_value(CstInputValue::String(token.to_owned()));
    }
    found
}

/// However the address is written; whether it may be used is not asked here.
fn is_at(entry: &CstNode, url: &DeploymentUrl) -> bool {
    let any = UrlRule {
        allow_insecure: true,
    };
    text_of(entry, "convex_url")
        .and_then(|text| deployment_url(&text, any).ok())
        .is_some_and(|theirs| theirs == *url)
}

fn token_of(entry: &CstNode) -> Option<WorkerToken> {
    WorkerToken::parse(&text_of(entry, "token")?).ok()
}

fn text_of(entry: &CstNode, field: &str) -> Option<String> {
    let value = entry.as_object()?.get(field)?.value()?;
    value.as_string_lit()?.decoded_value().ok()
}

/// Beside the file, because the file itself is replaced. It goes with the process, however that ends.
fn lock(path: &Path) -> Result<File, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot change {}: {error}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    private_dir(folder).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(format!(".{name}.lock")))
        .map_err(|error| failed(&error))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => pause(),
            Err(TryLockError::WouldBlock) => {
                return Err(failed(&"another command is changing it"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
}

/// Of a command that has nothing else to do; the supervisor never edits.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(LOOK);
}
