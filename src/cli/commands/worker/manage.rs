//! `worker remove`, `pause` and `resume`. What is meant by a name is looked for first in the configuration here, then on
//! the deployment; the running supervisor takes the change at once.

use serde_json::{Value, json};

use crate::cli::commands::reload;
use crate::cli::connection::{Connection, connect, connect_to};
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::config::{ConfigError, Edit, WorkerEntry, load};
use crate::control::Verb;
use crate::daemon::Paused;

/// A worker of the configuration here, by name or id.
pub(super) fn configured(app: &App, name: &str) -> Result<Option<WorkerEntry>, Failure> {
    let loaded = match load(&app.paths.workers_file, &app.base(), app.url_rule()) {
        Ok(loaded) => loaded,
        Err(ConfigError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_meant =
        |entry: &WorkerEntry| entry.name == name || entry.token.worker().as_str() == name;
    Ok(loaded.config.workers.into_iter().find(is_meant))
}

/// A worker's id and its deployment, as its owner.
pub(super) async fn on_its_deployment(
    app: &App,
    name: &str,
    entry: Option<&WorkerEntry>,
) -> Result<(Connection, String), Failure> {
    match entry {
        Some(entry) if app.globals.url.is_none() => {
            let connection = connect_to(app, entry.url.as_str()).await?;
            Ok((connection, entry.token.worker().to_string()))
        }
        _ => {
            let connection = connect(app).await?;
            let found = resolve::worker_exactly(&connection, name).await?;
            Ok((connection, found.worker_id))
        }
    }
}

pub(super) async fn remove(app: &App, name: &str, entry_only: bool) -> Result<(), Failure> {
    let entry = configured(app, name)?;
    let id = if entry_only {
        let entry = entry.as_ref().ok_or_else(|| unknown_here(app, name))?;
        entry.token.worker().to_string()
    } else {
        let (connection, id) = on_its_deployment(app, name, entry.as_ref()).await?;
        let args = json!({"workerId": id});
        connection.client.mutation("workers:remove", args).await?;
        app.ui.say(format!("worker {name} ({id}) removed"));
        id
    };
    if entry.is_none() {
        return Ok(());
    }
    let mut edit = Edit::open(&app.paths.workers_file)?;
    edit.remove(&id);
    edit.write().map_err(Failure::failed)?;
    let file = app.paths.shown(&app.paths.workers_file);
    app.ui.say(format!("taken out of {file}"));
    tell_supervisor(app).await
}

/// Makes the running supervisor take the changed file; none running is none to tell.
pub(in crate::cli::commands) async fn tell_supervisor(app: &App) -> Result<(), Failure> {
    let Some(supervisor) = serving_the_file(app) else {
        return Ok(());
    };
    match reload::reload(&supervisor, false).await {
        Ok(_) => app.ui.say("the running supervisor has taken it"),
        Err(failure) => {
            // What was asked for is done; what is left is said, with the way to it.
            app.ui.error(&format!(
                "warning: the running supervisor has not taken it: {failure}"
            ));
            app.ui
                .error("hint: orchestrator config check, then orchestrator reload");
        }
    }
    Ok(())
}

/// The supervisor that runs with this very file.
pub(super) fn serving_the_file(app: &App) -> Option<Supervisor> {
    let supervisor = Supervisor::find(app).ok()?;
    let file = supervisor.file.as_ref()?.config.clone()?;
    (file == app.paths.workers_file).then_some(supervisor)
}

pub(super) async fn pause(app: &App, name: &str, paused: bool) -> Result<(), Failure> {
    let done = if paused { "paused" } else { "resumed" };
    let changed = if let Ok(supervisor) = Supervisor::find(app) {
        let verb = Verb::Pause {
            worker: name.to_owned(),
            paused,
        };
        let answer: Value = supervisor.ask(verb, SHORT).await?;
        answer["changed"] == true
    } else {
        let entry = configured(app, name)?.ok_or_else(|| unknown_here(app, name))?;
        let (mut kept, damage) = Paused::read(&app.paths).map_err(Failure::failed)?;
        if let Some(damage) = damage {
            app.ui.error(&format!("warning: {damage}"));
        }
        let changed = kept.set(entry.token.worker().as_str(), paused);
        kept.write(&app.paths).map_err(Failure::failed)?;
        changed
    };
    app.ui.say(if changed {
        format!("worker {name} is {done}")
    } else {
        format!("worker {name} was {done} already")
    });
    Ok(())
}

/// With the nearest name of the file.
fn unknown_here(app: &App, name: &str) -> Failure {
    let loaded = load(&app.paths.workers_file, &app.base(), app.url_rule());
    let names = loaded.map_or_else(
        |_| Vec::new(),
        |loaded| {
            let workers = loaded.config.workers.into_iter();
            workers.map(|worker| worker.name).collect()
        },
    );
    resolve::unknown("worker", name, names)
}
