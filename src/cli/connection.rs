//! The way to a deployment, as its owner. Which one: `--url`, then the environment, then the running supervisor's, then
//! the only one in `workers.json`. Who: `ORCHESTRATOR_OWNER_TOKEN`, else a short-lived JWT made from the owner's key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::globals::App;
use super::supervisor::{SHORT, Supervisor};
use crate::adapters::convex::{ClientError, OwnerAuth, OwnerClient};
use crate::adapters::identity::{OwnerKey, StaticToken, previous_path};
use crate::config::{self, NEEDS_HTTPS, deployment_url, env};
use crate::control::Verb;
use crate::control::report::Report;
use crate::daemon::{DaemonFile, holder};

/// For a connection, and for each call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The owner's alone, small, and changes nothing.
pub const AS_OWNER: &str = "machines:list";

/// A connected deployment.
pub struct Connection {
    pub client: OwnerClient,
    pub url: String,
    /// It knows only the key before the owner's: it has not been started again since `owner rotate`.
    pub knows_old_key: bool,
    /// The one that runs here, whether or not it serves this deployment.
    supervisor: Option<Supervisor>,
}

impl Connection {
    /// Ids and names of the workers as the supervisor here has them; none when none runs or answers.
    pub async fn called(&self) -> Vec<(String, String)> {
        let Some(supervisor) = &self.supervisor else {
            return Vec::new();
        };
        let Ok(report) = supervisor.ask(Verb::Ps, SHORT).await else {
            return Vec::new();
        };
        serde_json::from_value(report).map_or_else(
            |_| Vec::new(),
            |report: Report| {
                let workers = report.workers.into_iter();
                workers.map(|worker| (worker.id, worker.name)).collect()
            },
        )
    }
}

/// A deployment that was found, not yet talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub url: String,
    /// The key that the running supervisor uses with it.
    pub key: Option<PathBuf>,
    /// Where other devices reach its page, as the running supervisor says.
    pub page: Option<String>,
}

pub async fn connect(app: &App) -> Result<Connection, Failure> {
    let found = match told_by_supervisor(app).await {
        Some(found) => found,
        None => find(app)?,
    };
    let (client, knows_old_key) = as_owner(app, &found.url, found.key.as_deref()).await?;
    Ok(Connection {
        client,
        knows_old_key,
        url: found.url,
        supervisor: Supervisor::find(app).ok(),
    })
}

/// The same with a URL that was named on the command line.
pub async fn connect_to(app: &App, text: &str) -> Result<Connection, Failure> {
    let url = checked(app, text)?;
    let key = find(app)
        .ok()
        .filter(|found| found.url == url)
        .and_then(|found| found.key);
    let (client, knows_old_key) = as_owner(app, &url, key.as_deref()).await?;
    Ok(Connection {
        client,
        knows_old_key,
        url,
        supervisor: Supervisor::find(app).ok(),
    })
}

/// The URL that somebody named.
fn checked(app: &App, text: &str) -> Result<String, Failure> {
    deployment_url(text, app.url_rule())
        .map(|url| url.to_string())
        .map_err(|message| {
            let failure = Failure::usage(format!("{message}: {text}"));
            if text.trim_start().starts_with("http://") && message == NEEDS_HTTPS {
                failure.hint("in a network that you trust with your tokens: --allow-insecure-url")
            } else {
                failure
            }
        })
}

/// What a running supervisor says of itself when its state file is damaged: the file is a help, not a need.
async fn told_by_supervisor(app: &App) -> Option<Found> {
    let is_named = app.globals.url.is_some() || env::get(env::CONVEX_URL).is_some();
    if is_named || !DaemonFile::is_damaged(&app.paths.daemon_file()) {
        return None;
    }
    let report = Supervisor::find(app)
        .ok()?
        .ask(Verb::Ps, SHORT)
        .await
        .ok()?;
    let report: Report = serde_json::from_value(report).ok()?;
    let embedded = report.deployments.into_iter().map(|one| one.url);
    let mut urls: Vec<String> = embedded.collect();
    if urls.is_empty() {
        urls.extend(report.bridges.into_iter().map(|one| one.url));
    }
    match urls.as_slice() {
        [url] => Some(Found {
            url: url.clone(),
            key: None,
            page: None,
        }),
        _ => None,
    }
}

pub fn find(app: &App) -> Result<Found, Failure> {
    let running = holder(&app.paths.lock_file())
        .and_then(|_| DaemonFile::read(&app.paths.daemon_file()))
        .filter(|file| file.exited.is_none());
    let key_of = |url: &str| {
        running
            .as_ref()
            .filter(|file| file.url.as_deref() == Some(url))
            .and_then(|file| file.owner_key.clone())
    };
    let page_of = |url: &str| {
        running
            .as_ref()
            .filter(|file| file.url.as_deref() == Some(url))
            .and_then(|file| file.page.clone())
    };
    if let Some(text) = app
        .globals
        .url
        .clone()
        .or_else(|| env::get(env::CONVEX_URL))
    {
        let url = checked(app, &text)?;
        return Ok(Found {
            key: key_of(&url),
            page: page_of(&url),
            url,
        });
    }
    if let Some(url) = running.as_ref().and_then(|file| file.url.clone()) {
        return Ok(Found {
            key: key_of(&url),
            page: page_of(&url),
            url,
        });
    }
    let mut urls: Vec<String> =
        match config::load(&app.paths.workers_file, &app.base(), app.url_rule()) {
            Ok(loaded) => loaded
                .config
                .workers
                .iter()
                .map(|worker| worker.url.to_string())
                .collect(),
            Err(config::ConfigError::Missing { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
    urls.sort();
    urls.dedup();
    match urls.as_slice() {
        [url] => Ok(Found {
            url: url.clone(),
            key: None,
            page: None,
        }),
        [] if holder(&app.paths.lock_file()).is_some() => Err(Failure::failed(format!(
            "the supervisor runs, and does not say which deployment is its own: it is {}",
            running
                .as_ref()
                .and_then(|file| file.starting.as_ref())
                .map_or_else(
                    || "starting or stopping".to_owned(),
                    |what| format!("starting: {what}")
                )
        ))
        .hint("try again in a moment, or name a deployment with --url")),
        [] => Err(Failure::new(
            Exit::NotRunning,
            "orchestrator is not running, and no deployment is named",
        )
        .hint("start one here with orchestrator run --local, or name one with --url")),
        many => Err(Failure::usage(format!(
            "workers.json names {} deployments: {}",
            many.len(),
            many.join(", ")
        ))
        .hint("choose one with --url")),
    }
}

/// Who we are for a deployment that somebody else has found.
pub fn identity_for(app: &App, url: &str) -> Result<Arc<dyn OwnerAuth>, Failure> {
    let found = find(app).ok().filter(|found| found.url == url);
    identity(app, found.and_then(|found| found.key).as_deref())
}

/// While a key is being exchanged, a deployment that does not know the new one yet is reached with the one before.
async fn as_owner(
    app: &App,
    url: &str,
    key: Option<&Path>,
) -> Result<(OwnerClient, bool), Failure> {
    let auth = identity(app, key)?;
    let client = OwnerClient::connect(url, auth, TIMEOUT).await;
    let previous = if StaticToken::from_environment().is_some() {
        None
    } else {
        let before = previous_path(&key_path(app, key));
        before
            .exists()
            .then(|| OwnerKey::load(&before))
            .transpose()?
    };
    let Some(previous) = previous else {
        return Ok((client?, false));
    };
    let is_unknown = match &client {
        Ok(client) => matches!(
            client.query(AS_OWNER, json!({})).await,
            Err(ClientError::Unauthorized { .. })
        ),
        Err(error) => matches!(error, ClientError::Unauthorized { .. }),
    };
    if !is_unknown {
        return Ok((client?, false));
    }
    let with_previous = OwnerClient::connect(url, Arc::new(previous), TIMEOUT).await?;
    // The refusal of the new key is the one to tell, when the old one does not help either.
    match with_previous.query(AS_OWNER, json!({})).await {
        Ok(_) => Ok((with_previous, true)),
        Err(_) => Ok((client?, false)),
    }
}

/// Whether there is anything to prove to be the owner with.
pub fn is_owner_here(app: &App) -> bool {
    let key = find(app).ok().and_then(|found| found.key);
    StaticToken::from_environment().is_some() || key_path(app, key.as_deref()).exists()
}

fn key_path(app: &App, key: Option<&Path>) -> PathBuf {
    match (env::get(env::OWNER_KEY), key) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(path)) => path.to_owned(),
        (None, None) => app.paths.owner_key(),
    }
}

/// Who we are for the deployment.
fn identity(app: &App, key: Option<&Path>) -> Result<Arc<dyn OwnerAuth>, Failure> {
    if let Some(token) = StaticToken::from_environment() {
        return Ok(Arc::new(token));
    }
    Ok(Arc::new(owner_key(app, key)?))
}

/// The owner's key itself, for what only its holder can do; `key` is the one that the supervisor here uses.
pub fn owner_key(app: &App, key: Option<&Path>) -> Result<OwnerKey, Failure> {
    let path = key_path(app, key);
    if !path.exists() {
        return Err(Failure::new(
            Exit::Refused,
            format!("there is no owner's key at {}", path.display()),
        )
        .hint("make one with orchestrator owner init, or set ORCHESTRATOR_OWNER_TOKEN"));
    }
    Ok(OwnerKey::load(&path)?)
}
