//! `orchestrator config`: where the configuration is, whether it is right, what it says, and changing it by hand.

mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::adapters::process::foreground::run_in_terminal;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, warning_text};
use crate::cli::globals::App;
use crate::cli::prompt;
use crate::config::dev::Dev;
use crate::config::dotenv;
use crate::config::{
    Base, Edit, Loaded, NAME_RULE, NewEntry, WorkersConfig, env, is_name, load, schema, template,
};
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

/// What paths in a `.env` are relative to: development mode is started beside it.
pub(super) fn beside(app: &App, file: &Path) -> Base {
    let base = app.base();
    let file = base.current.join(file);
    let folder = file.parent().map(Path::to_owned);
    Base {
        current: folder.unwrap_or(base.current),
        ..base
    }
}

/// Whether the file that is added to takes a worker of this name.
pub(super) fn check_new_name(name: Option<&str>, config: &WorkersConfig) -> Result<(), Failure> {
    let Some(name) = name else {
        return Ok(());
    };
    if !is_name(name) {
        return Err(Failure::usage(format!("--name {NAME_RULE}")));
    }
    if config.workers.iter().any(|worker| worker.name == name) {
        return Err(Failure::usage(format!("another worker is called `{name}`"))
            .hint("choose another --name; orchestrator config show lists what is there"));
    }
    Ok(())
}

fn migrate(app: &App, file: &Path, name: Option<&str>) -> Result<(), Failure> {
    let found = Dev::of_file(file)?.ok_or_else(|| {
        Failure::new(Exit::Config, format!("there is no file {}", file.display()))
            .hint("name the .env of your development mode: orchestrator config migrate-env FILE")
    })?;
    let found = found.with_url(app.globals.url.clone());
    let wrong =
        |failure: Failure| failure.hint("correct it, then: orchestrator config migrate-env");
    let loaded = found.loaded(&beside(app, file), app.url_rule());
    let loaded = loaded.map_err(|error| wrong(error.into()))?;
    let Some(worker) = loaded.config.workers.first() else {
        return Err(Failure::failed(format!("{} has no worker", file.display())));
    };
    if let Some(reason) = &worker.broken {
        return Err(wrong(Failure::new(Exit::Config, reason)));
    }
    let (token, directory) = (&worker.token, &worker.directory);
    let path = &app.paths.workers_file;
    let (mut edit, config) = Edit::to_add(path, &app.base(), app.url_rule())?;
    if edit.has(token.worker().as_str()) {
        let message = format!("worker {} is in {} already", token.worker(), path.display());
        return Err(Failure::usage(message).hint("orchestrator config show lists what is there"));
    }
    check_new_name(name, &config)?;
    let text = token.expose();
    let entry = NewEntry::new(&text, directory, worker.url.as_str())
        .named(name)
        .idle_after(found.idle_timeout().ok().flatten());
    edit.append(entry)
        .and_then(|()| edit.write())
        .map_err(|error| Failure::failed(error).hint("nothing was changed"))?;
    app.ui.say(format!(
        "wrote {} (0600): worker {} in {}; {} stays for development mode",
        app.paths.shown(path),
        token.worker(),
        app.paths.shown(directory),
        file.display()
    ));
    if prompt::can_ask(app) {
        app.ui.say("try it: orchestrator run");
    }
    Ok(())
}
