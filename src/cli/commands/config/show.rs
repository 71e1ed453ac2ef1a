//! `config show`: the configuration with everything that was left out filled in, and with `--origin` where each setting
//! comes from. Secrets are cut short; there is no way to print them whole (the file is there for that).

use clap::Args;
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::{Origin, Origins, WorkerEntry, env, shown_tasks};

/// Print what the configuration amounts to; secrets are cut short
#[derive(Debug, Args)]
pub struct Show {
    /// Say of every setting where it comes from: flag, environment, file and line, or default
    #[arg(long)]
    origin: bool,

    /// Secrets cut short: always so, said for scripts that want to be sure
    #[arg(long)]
    redacted: bool,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A setting's name, its value and where that comes from.
type Row = (&'static str, String, Origin);

impl Show {
    pub fn execute(&self, app: &App) -> Result<(), Failure> {
        let config = super::read(app)?.config;
        let workers = || config.workers.iter().zip(&config.origins);
        if self.json {
            let workers: Vec<Value> = workers()
                .map(|(worker, origins)| self.as_json(worker, origins))
                .collect();
            app.ui.json(&json!({
                "schema": 1,
                "path": app.paths.workers_file,
                "machine": {"name": config.machine_name, "sync_interval_ms": config.sync_interval_ms},
                "logs": {"level": config.log_level},
                "defaults": {"env_passthrough": config.env_passthrough},
                "workers": workers,
            }));
            return Ok(());
        }
        if self.origin {
            app.ui.line(format!(
                "{}   ({})",
                app.paths.workers_file.display(),
                file_origin(app)
            ));
        }
        for (worker, origins) in workers() {
            app.ui.line(&worker.name);
            for (name, value, origin) in rows(worker, origins) {
                let origin = if self.origin {
                    format!("   ({origin})")
                } else {
                    String::new()
                };
                app.ui.line(format!("  {name:23}  {value}{origin}"));
            }
        }
        Ok(())
    }

    fn as_json(&self, worker: &WorkerEntry, origins: &Origins) -> Value {
        let mut value = json!({
            "name": worker.name,
            "token": worker.token.to_string(),
            "working_directory": worker.directory,
            "convex_url": worker.url.as_str(),
            "idle_timeout_ms": idle_timeout(worker, origins).0,
            "max_sessions": worker.max_sessions,
            "interrupted_turns": worker.on_interrupt.as_str(),
            "notify_desktop": worker.notify.desktop,
            "notify_push": worker.notify.push,
            "notify_command": worker.notify.command,
            "notify_after_ms": worker.notify.after_ms,
            "notify_quiet": worker.notify.quiet.map(|quiet| quiet.to_string()),
            "permissions": worker.permissions.to_string(),
            "answer_timeout_ms": worker.answer_timeout_ms,
            "broken": worker.broken,
        });
        let tasks =
            task_rows(worker, origins).map(|(name, shown, _)| (name.to_owned(), json!(shown)));
        value["task_settings"] = Value::Object(tasks.collect());
        if self.origin {
            let origins = rows(worker, origins).into_iter();
            let origins =
                origins.map(|(name, _, origin)| (name.to_owned(), json!(origin.to_string())));
            value["origins"] = Value::Object(origins.collect());
        }
        value
    }
}

fn rows(worker: &WorkerEntry, origins: &Origins) -> Vec<Row> {
    let entry = || origins.directory.clone();
    let (idle_ms, idle) = idle_timeout(worker, origins);
    let mut rows = vec![
        ("name", worker.name.clone(), origins.name.clone()),
        ("token", worker.token.to_string(), entry()),
        (
            "working_directory",
            worker.directory.display().to_string(),
            entry(),
        ),
        ("convex_url", worker.url.to_string(), entry()),
        (
            "idle_timeout",
            format!("{}s", idle_ms as f64 / 1000.0),
            idle,
        ),
        (
            "max_sessions",
            worker.max_sessions.to_string(),
            origins.max_sessions.clone(),
        ),
        (
            "interrupted_turns",
            worker.on_interrupt.to_string(),
            origins.on_interrupt.clone(),
        ),
        (
            "permissions",
            worker.permissions.to_string(),
            origins.permissions.clone(),
        ),
        (
            "answer_timeout",
            format!("{}s", worker.answer_timeout_ms as f64 / 1000.0),
            origins.answer_timeout.clone(),
        ),
    ];
    rows.extend(notify_rows(worker, origins));
    rows.extend(task_rows(worker, origins));
    rows
}

fn notify_rows(worker: &WorkerEntry, origins: &Origins) -> impl Iterator<Item = Row> {
    let notify = &worker.notify;
    let none = || "none".to_owned();
    let command = match notify.command.as_slice() {
        [] => none(),
        words => json!(words).to_string(),
    };
    let quiet = notify.quiet.map_or_else(none, |quiet| quiet.to_string());
    [
        ("notify_desktop", notify.desktop.to_string()),
        ("notify_push", notify.push.to_string()),
        ("notify_command", command),
        (
            "notify_after",
            format!("{}s", notify.after_ms as f64 / 1000.0),
        ),
        ("notify_quiet", quiet),
    ]
    .map(|(name, value)| {
        let origin = origins.notify.get(name).cloned();
        (name, value, origin.unwrap_or_default())
    })
    .into_iter()
}

/// What is said about tasks; of Goose the environment's word wins over the file's, as in `run`.
fn task_rows(worker: &WorkerEntry, origins: &Origins) -> impl Iterator<Item = Row> {
    shown_tasks(&worker.tasks).into_iter().map(|(name, value)| {
        let variable = match name {
            "goose.provider" => Some(env::GOOSE_PROVIDER),
            "goose.model" => Some(env::GOOSE_MODEL),
            _ => None,
        };
        if let Some((variable, value)) = variable.and_then(|name| Some((name, env::get(name)?))) {
            return (name, value, Origin::Environment(variable.to_owned()));
        }
        let origin = origins.tasks.get(name).cloned().unwrap_or_default();
        (name, value, origin)
    })
}

/// The environment wins over the file, in `run` as here.
fn idle_timeout(worker: &WorkerEntry, origins: &Origins) -> (u64, Origin) {
    let from_env = env::get(env::IDLE_TIMEOUT)
        .and_then(|text| crate::config::parse_duration(&text).ok())
        .map(|time| time.as_millis() as u64);
    match from_env {
        Some(ms) => (ms, Origin::Environment(env::IDLE_TIMEOUT.to_owned())),
        None => (worker.idle_timeout_ms, origins.idle_timeout.clone()),
    }
}

fn file_origin(app: &App) -> Origin {
    let Some(named) = &app.globals.config else {
        return Origin::Default;
    };
    let from_env = std::env::var_os(env::CONFIG).is_some_and(|path| path == named.as_os_str());
    if from_env {
        Origin::Environment(env::CONFIG.to_owned())
    } else {
        Origin::Flag("--config")
    }
}
