//! `orchestrator config`: where the configuration is, whether it is right, what it says, and changing it by hand.

mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::init::parse_token;
use crate::adapters::process::foreground::run_in_terminal;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::prompt;
use crate::config::dev::{CONVEX_URL, MACHINE_TOKEN, ROOT_DIRECTORY, WORKER_TOKEN};
use crate::config::dotenv::{self, DotEnv};
use crate::config::{Edit, Loaded, Problem, deployment_url, env, inspect, load, schema, template};
use crate::ui::format::plural;

/// Look at the configuration and change it
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
    /// Print the JSON Schema of workers.json, for editors
    Schema,
    /// Print what the configuration amounts to; secrets are cut short
    Show(show::Show),
    /// Open workers.json in $VISUAL or $EDITOR, then check it
    Edit,
    /// Take the worker of a development mode's .env into workers.json; the .env stays as it is
    MigrateEnv {
        /// The file
        #[arg(default_value = dotenv::FILE)]
        file: PathBuf,
        /// What people call the worker [default: the directory's last part]
        #[arg(long)]
        name: Option<String>,
    },
}

impl Config {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::Check { json, .. } => *json,
            Command::Show(show) => show.json,
            _ => false,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::Path => app.ui.line(app.paths.workers_file.display().to_string()),
            Command::Template => app.ui.data(template::TEXT),
            Command::Schema => app.ui.data(schema::TEXT),
            Command::Check { strict, json } => return check(app, strict, json),
            Command::Show(show) => show.execute(app)?,
            Command::Edit => return edit(app).await,
            Command::MigrateEnv { file, name } => migrate(app, &file, name.as_deref())?,
        }
        Ok(Exit::Ok)
    }
}

fn read(app: &App) -> Result<Loaded, Failure> {
    Ok(load(&app.paths.workers_file, &app.base(), app.url_rule())?)
}

fn check(app: &App, strict: bool, json: bool) -> Result<Exit, Failure> {
    let Loaded {
        config,
        mut warnings,
        notes,
    } = read(app)?;
    warnings.extend(notes);
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

async fn edit(app: &App) -> Result<Exit, Failure> {
    if app.globals.no_input {
        return Err(Failure::usage("--no-input leaves nobody to edit"));
    }
    let path = &app.paths.workers_file;
    if !path.exists() {
        template::write(path)?;
    }
    let editor = env::get("VISUAL")
        .or_else(|| env::get("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    let code = run_in_terminal(&editor, path)
        .await
        .map_err(|error| Failure::failed(format!("cannot start {editor}: {error}")))?;
    if code != Some(0) {
        return Err(Failure::failed(format!("the editor `{editor}` failed"))
            .hint("name another one in VISUAL or EDITOR"));
    }
    let exit = check(app, false, false)?;
    app.ui
        .say("a running supervisor takes it with orchestrator reload");
    Ok(exit)
}

fn migrate(app: &App, file: &Path, name: Option<&str>) -> Result<(), Failure> {
    let found = DotEnv::read(file)?.ok_or_else(|| {
        Failure::new(Exit::Config, format!("there is no file {}", file.display()))
            .hint("name the .env of your development mode: orchestrator config migrate-env FILE")
    })?;
    let required = |name: &str, what: &str| {
        found.get(name).ok_or_else(|| {
            Failure::new(
                Exit::Config,
                format!("{name}: {what} is required ({})", file.display()),
            )
        })
    };
    let token = match found.get(WORKER_TOKEN).or(found.get(MACHINE_TOKEN)) {
        Some(text) => parse_token(text)?,
        None => parse_token(required(WORKER_TOKEN, "Worker token")?)?,
    };
    let url = deployment_url(required(CONVEX_URL, "Convex URL")?, app.url_rule())
        .map_err(|reason| Failure::new(Exit::Config, format!("{CONVEX_URL}: {reason}")))?;
    // Without ROOT_DIRECTORY development mode works where it is started: beside its .env.
    let beside = std::path::absolute(file)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    let base = app.base();
    let given = match found.get(ROOT_DIRECTORY) {
        Some(root) => base.expand(root),
        None => beside.unwrap_or(base.current),
    };
    let directory = inspect(&given.display().to_string(), &given)
        .map_err(|reason| Failure::new(Exit::Config, reason))?;
    let path = &app.paths.workers_file;
    let mut edit = Edit::open(path).map_err(Failure::failed)?;
    if edit.has(token.worker().as_str()) {
        let message = format!("worker {} is in {} already", token.worker(), path.display());
        return Err(Failure::usage(message).hint("orchestrator config show lists what is there"));
    }
    edit.append(&token.expose(), &directory, url.as_str(), name)
        .and_then(|()| edit.write())
        .map_err(|error| Failure::failed(error).hint("nothing was changed"))?;
    app.ui.say(format!(
        "wrote {} (0600): worker {} in {}; {} stays for development mode",
        app.paths.shown(path),
        token.worker(),
        app.paths.shown(&directory),
        file.display()
    ));
    if prompt::can_ask(app) {
        app.ui.say("try it: orchestrator run");
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
