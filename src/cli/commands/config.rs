//! `orchestrator config`: where the configuration is, whether it is right, what it says.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::{Loaded, Problem, load, template};
use crate::ui::format::plural;

/// Look at the configuration
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print where workers.json is looked for
    Path,
    /// Check workers.json: every mistake at once, with its place
    Check {
        /// Take warnings and missing directories as mistakes
        #[arg(long)]
        strict: bool,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a commented workers.json to start from
    Template,
    /// Print what the configuration amounts to; secrets are cut short
    Show {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Config {
    pub fn wants_json(&self) -> bool {
        matches!(
            self.command,
            Command::Check { json: true, .. } | Command::Show { json: true }
        )
    }

    pub fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::Path => app.ui.line(app.paths.workers_file.display().to_string()),
            Command::Template => app.ui.data(template::TEXT),
            Command::Check { strict, json } => return check(app, strict, json),
            Command::Show { json } => show(app, json)?,
        }
        Ok(Exit::Ok)
    }
}

fn read(app: &App) -> Result<Loaded, Failure> {
    Ok(load(&app.paths.workers_file, &app.base(), app.url_rule())?)
}

fn check(app: &App, strict: bool, json: bool) -> Result<Exit, Failure> {
    let Loaded { config, warnings } = read(app)?;
    let broken: Vec<String> = config
        .workers
        .iter()
        .filter_map(|worker| {
            let reason = worker.broken.as_ref()?;
            Some(format!("worker {}: {reason}", worker.name))
        })
        .collect();
    let fails = strict && !(warnings.is_empty() && broken.is_empty());
    if json {
        app.ui.json(&json!({
            "schema": 1,
            "path": app.paths.workers_file,
            "ok": !fails,
            "workers": config.workers.len(),
            "warnings": warnings,
            "broken": broken,
        }));
    } else {
        for warning in &warnings {
            app.ui.error(&warning_text(warning));
        }
        for line in &broken {
            app.ui.error(&format!("warning: {line}"));
        }
        for worker in &config.workers {
            app.ui.line(format!(
                "{}   {}   {}",
                worker.name,
                app.paths.shown(&worker.directory),
                worker.url
            ));
        }
        if !fails {
            let count = plural(config.workers.len(), "worker");
            app.ui.say(format!(
                "ok: {count} in {}",
                app.paths.workers_file.display()
            ));
        }
    }
    Ok(if fails { Exit::Config } else { Exit::Ok })
}

fn show(app: &App, json: bool) -> Result<(), Failure> {
    let config = read(app)?.config;
    let workers: Vec<_> = config
        .workers
        .iter()
        .map(|worker| {
            json!({
                "name": worker.name,
                "token": worker.token.to_string(),
                "working_directory": worker.directory,
                "convex_url": worker.url.as_str(),
                "idle_timeout_ms": worker.idle_timeout_ms,
                "max_sessions": worker.max_sessions,
                "interrupted_turns": worker.on_interrupt.as_str(),
                "broken": worker.broken,
            })
        })
        .collect();
    if json {
        app.ui.json(&json!({
            "schema": 1,
            "path": app.paths.workers_file,
            "machine": {"name": config.machine_name},
            "logs": {"level": config.log_level},
            "defaults": {"env_passthrough": config.env_passthrough},
            "workers": workers,
        }));
        return Ok(());
    }
    for worker in &config.workers {
        app.ui.line(format!(
            "{}\n  token              {}\n  working_directory  {}\n  convex_url         {}\n  idle_timeout       {}s\n  max_sessions       {}\n  interrupted_turns  {}",
            worker.name,
            worker.token,
            worker.directory.display(),
            worker.url,
            worker.idle_timeout_ms as f64 / 1000.0,
            worker.max_sessions,
            worker.on_interrupt
        ));
    }
    Ok(())
}

/// A warning as it is shown everywhere.
pub fn warning_text(warning: &Problem) -> String {
    match &warning.help {
        Some(help) => format!("warning: {warning}; {help}"),
        None => format!("warning: {warning}"),
    }
}
