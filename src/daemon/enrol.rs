//! A machine's token gives this installation all of the machine's workers back: an entry in `workers.json` for each, with
//! a credential of its own. Nothing else is needed: the sessions are the deployment's, and a session's assistant is
//! started when its next message comes.
//!
//! Done again it renews the credentials, adds what is new and takes out what was removed on the deployment; all else that
//! people wrote stays as it is. What it writes is a file that `run` takes.

use std::path::PathBuf;
use std::time::Duration;

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::MachineToken;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::compose::{self, KnownMachine};
use crate::adapters::convex::{ClientError, OwnerClient};
use crate::adapters::identity::{CHATROOM_FILE, Machine, install_id};
use crate::config::paths::private_dir;
use crate::config::{Base, Edit, EditError, NewEntry, Paths, UrlRule};

const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Error)]
pub enum EnrolError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Files(String),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("the deployment answered machines:enrol with something else: {0}")]
    Answer(String),
}

/// The installation's `workers.json`, and how it is read.
pub struct Target<'a> {
    pub paths: &'a Paths,
    pub base: Base,
    pub rule: UrlRule,
}

impl Target<'_> {
    fn open(&self) -> Result<Edit, EditError> {
        Edit::to_add(&self.paths.workers_file, &self.base, self.rule).map(|(edit, _)| edit)
    }
}

/// What the installation got.
#[derive(Debug)]
pub struct Enrolled {
    pub machine_id: String,
    pub name: String,
    pub workers: Vec<EnrolledWorker>,
    pub sessions: usize,
    /// Workers of the machine that are not on the deployment any more: their entries were taken out.
    pub gone: Vec<String>,
    /// This installation had an identity of its own before, which differs.
    pub known_as: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolledWorker {
    pub worker_id: String,
    pub name: String,
    pub directory: PathBuf,
    pub state: String,
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    machine_id: String,
    name: String,
    workers: Vec<EnrolledWorker>,
    sessions: Vec<Value>,
    next: Option<String>,
}

/// Asks the deployment for everything of the token's machine and writes it down here, page by page. What cannot be
/// written down is found out before the deployment is asked; and what this installation had before serves on until a
/// supervisor has connected with what it got now.
pub async fn enrol(
    file: &Target<'_>,
    url: &DeploymentUrl,
    token: &MachineToken,
) -> Result<Enrolled, EnrolError> {
    let files = |error: String| EnrolError::Files(error);
    let paths = file.paths;
    drop(file.open()?);
    let machine = identity(paths, token).map_err(files)?;
    private_dir(&paths.state).map_err(|error| files(error.to_string()))?;
    let state = std::fs::canonicalize(&paths.state).map_err(|error| files(error.to_string()))?;
    let client = OwnerClient::connect_without_identity(url.as_str(), TIMEOUT).await?;
    let mut args = json!({
        "token": token.expose(),
        "installId": install_id(&machine.identity.machine_id, &state),
        "machine": {
            "hostname": machine.identity.hostname,
            "os": machine.identity.os,
            "tools": machine.tools,
        },
    });
    let mut enrolled = Enrolled {
        machine_id: token.machine().to_string(),
        name: String::new(),
        workers: Vec::new(),
        sessions: 0,
        gone: Vec::new(),
        known_as: (machine.id != token.machine().as_str()).then_some(machine.id),
    };
    loop {
        let answer = client.mutation("machines:enrol", args.clone()).await?;
        let page: Page = serde_json::from_value(answer)
            .map_err(|error| EnrolError::Answer(error.to_string()))?;
        keep_identity(paths, &machine.identity).map_err(files)?;
        write_down(file, url, &page.workers)?;
        enrolled.machine_id = page.machine_id;
        enrolled.name = page.name;
        enrolled.sessions += page.sessions.len();
        enrolled.workers.extend(page.workers);
        match page.next {
            Some(next) => args["after"] = Value::from(next),
            None => break,
        }
    }
    let known: Vec<&str> = enrolled
        .workers
        .iter()
        .map(|one| one.worker_id.as_str())
        .collect();
    let mut edit = file.open()?;
    enrolled.gone = edit.keep_only(token.machine(), url, &known);
    if !enrolled.gone.is_empty() {
        edit.write().map_err(files)?;
    }
    Ok(enrolled)
}

/// Who this installation is; one without an identity becomes the machine that the token names. Nothing is written: the
/// token may be refused.
fn identity(paths: &Paths, token: &MachineToken) -> Result<KnownMachine, String> {
    let known = Machine::load(&paths.machine_file()).map_err(|error| error.to_string())?;
    if known.is_some() {
        return compose::machine(paths, None);
    }
    let identity = match token.machine().as_str().parse() {
        Ok(id) => Machine::named(id),
        Err(_) => Machine::unwritten(Some(&paths.home.join(CHATROOM_FILE))),
    };
    Ok(compose::known(paths, identity, None))
}

/// The deployment has taken the token: what was only thought of is this machine's identity from now on.
fn keep_identity(paths: &Paths, identity: &Machine) -> Result<(), String> {
    let path = paths.machine_file();
    let known = Machine::load(&path).map_err(|error| error.to_string())?;
    if known.is_some() {
        return Ok(());
    }
    private_dir(&paths.config).map_err(|error| error.to_string())?;
    identity.save(&path).map_err(|error| error.to_string())
}

fn write_down(
    file: &Target<'_>,
    url: &DeploymentUrl,
    workers: &[EnrolledWorker],
) -> Result<(), EnrolError> {
    let mut edit = file.open()?;
    let written = workers.iter().try_for_each(|worker| {
        if edit.set_token_at(&worker.worker_id, url, &worker.token) {
            return Ok(());
        }
        let entry = NewEntry::new(&worker.token, &worker.directory, url.as_str());
        edit.append(entry.named(Some(&worker.name)))
    });
    written
        .and_then(|()| edit.write())
        .map_err(EnrolError::Files)
}
