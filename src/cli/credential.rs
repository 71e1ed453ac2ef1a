//! The right of a worker, for commands beside its supervisor: the token of the worker whose directory this one is in, from
//! `workers.json`, or from what `run --local` keeps. An assistant that is started for a role has it in the same way; the
//! token itself is in nobody's environment.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::token::WorkerToken;

use super::connection::{self, find};
use super::failure::Failure;
use super::globals::App;
use crate::adapters::convex::OwnerClient;
use crate::config;
use crate::daemon::local_token;

const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Right {
    pub token: Arc<WorkerToken>,
    pub url: String,
}

impl Right {
    /// Without an identity: the token is an argument of what is called.
    pub async fn connect(&self) -> Result<OwnerClient, Failure> {
        Ok(OwnerClient::connect_without_identity(&self.url, TIMEOUT).await?)
    }

    /// As the owner, if this machine can prove to be one.
    pub async fn connect_as_owner(&self, app: &App) -> Option<OwnerClient> {
        let auth = connection::identity_for(app, &self.url).ok()?;
        OwnerClient::connect(&self.url, auth, TIMEOUT).await.ok()
    }
}

/// The right of the worker whose directory this one is in.
pub fn here(app: &App) -> Result<Right, Failure> {
    let here = std::env::current_dir()
        .and_then(std::fs::canonicalize)
        .map_err(|error| {
            Failure::usage(format!("the current directory cannot be used: {error}"))
        })?;
    let found = find(app);
    let meant = found.as_ref().ok().map(|found| found.url.as_str());
    if let Some(right) = of_file(app, &here, meant)? {
        return Ok(right);
    }
    let nobody = || {
        Failure::usage(format!(
            "no worker of this machine works in {}",
            here.display()
        ))
        .hint("start in a worker's directory, or make it one: orchestrator worker add DIR")
    };
    // What is kept is for the embedded deployment alone, so it has to be known where that listens.
    let found = found?;
    let token = local_token(&app.paths.local(), &here).ok_or_else(nobody)?;
    Ok(Right {
        token: Arc::new(token),
        url: found.url,
    })
}

/// The deepest directory of `workers.json` that holds this one; of the deployment that is meant, if one is.
fn of_file(app: &App, here: &Path, meant: Option<&str>) -> Result<Option<Right>, Failure> {
    let loaded = match config::load(&app.paths.workers_file, &app.base(), app.url_rule()) {
        Ok(loaded) => loaded,
        Err(config::ConfigError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let workers = loaded.config.workers.into_iter();
    let fitting = workers.filter(|worker| {
        here.starts_with(&worker.directory) && meant.is_none_or(|url| worker.url.as_str() == url)
    });
    let deepest = fitting.max_by_key(|worker| worker.directory.components().count());
    Ok(deepest.map(|worker| Right {
        token: worker.token,
        url: worker.url.to_string(),
    }))
}
