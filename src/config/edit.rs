//! Changes `workers.json` for the user without losing a comment: edits go through the concrete syntax tree and replace
//! the file in one step. Two commands that edit at once come one after the other: neither loses the other's entry, which
//! may hold the only copy of a token. A file that is linked to from its place stays linked.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstRootNode};
use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::WorkerToken;

use super::load::jsonc;
use super::paths::{private_dir, write_private};
use super::url::{UrlRule, deployment_url};

/// Another command's edit takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

const EMPTY: &str = "{\n  \"workers\": []\n}\n";

/// One change of the file, from its reading to its writing.
pub struct Edit {
    /// The file itself, links resolved.
    target: PathBuf,
    root: CstRootNode,
    _lock: File,
}

impl Edit {
    /// Reads the file; a missing one is begun with an empty list.
    pub fn open(path: &Path) -> Result<Self, String> {
        Self::begin(path, |target| match std::fs::read_to_string(target) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(EMPTY.to_owned()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        })
    }

    /// An empty list in the place of what is there; that is kept beside it.
    pub fn fresh(path: &Path) -> Result<Self, String> {
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
    ) -> Result<Self, String> {
        let lock = lock(path)?;
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = text(&target)?;
        let root = CstRootNode::parse(&text, &jsonc())
            .map_err(|error| format!("{} is not valid JSON: {}", path.display(), error.kind()))?;
        Ok(Self {
            target,
            root,
            _lock: lock,
        })
    }

    /// Whether there is an entry with a token of this worker.
    pub fn has(&self, worker: &str) -> bool {
        self.entry(worker).is_some()
    }

    pub fn append(
        &mut self,
        token: &str,
        directory: &Path,
        url: &str,
        name: Option<&str>,
    ) -> Result<(), String> {
        let list = self
            .root
            .object_value_or_create()
            .and_then(|object| object.array_value_or_create("workers"))
            .ok_or_else(|| format!("{} has no list `workers`", self.target.display()))?;
        let text = |text: &str| CstInputValue::String(text.to_owned());
        let mut fields = vec![
            ("token".to_owned(), text(token)),
            (
                "working_directory".to_owned(),
                text(&directory.display().to_string()),
            ),
            ("convex_url".to_owned(), text(url)),
        ];
        if let Some(name) = name {
            fields.push(("name".to_owned(), text(name)));
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
        let elements = self.workers().map(|list| list.elements());
        elements
            .unwrap_or_default()
            .into_iter()
            .filter(move |element| worker_of(element).as_deref() == Some(worker))
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

/// Adds one worker, making the file when there is none. The token goes to the file alone (0600).
pub fn append_worker(
    path: &Path,
    token: &str,
    directory: &Path,
    url: &str,
    name: Option<&str>,
) -> Result<(), String> {
    let mut edit = Edit::open(path)?;
    edit.append(token, directory, url, name)?;
    edit.write()
}

fn worker_of(entry: &CstNode) -> Option<String> {
    let token = WorkerToken::parse(&text_of(entry, "token")?).ok()?;
    Some(token.worker().to_string())
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
