//! `orchestrator service`: the supervisor as a service of the user's session. The file is written whether the manager's program
//! is here or not; what is left to do then is said as commands to paste.

mod manager;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::ConfigError;
use crate::daemon::holder;
use crate::service::{Before, Manager, Standing, Wanted, capture, remove, standing, write};
use manager::Program;

/// Start the supervisor at login, by systemd or launchd
#[derive(Debug, Args)]
pub struct Service {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the service's file with this shell's PATH, enable it and start it
    Install {
        #[command(flatten)]
        serves: Serves,
        /// Replace a file that orchestrator did not write
        #[arg(long)]
        force: bool,
        /// Only write the file
        #[arg(long)]
        no_start: bool,
    },
    /// Stop the service, disable it and remove its file
    Uninstall {
        /// Remove a file that orchestrator did not write
        #[arg(long)]
        force: bool,
    },
    /// Say whether it is installed and runs, and whether its PATH is still this shell's; exit 4 when it does not run
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the file that `install` would write
    Print {
        #[command(flatten)]
        serves: Serves,
        /// For which service manager [default: this system's]
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
}

#[derive(Debug, Args)]
struct Serves {
    /// Serve these directories with a deployment of our own instead of workers.json [default: .]
    #[arg(long, value_name = "DIR", num_args = 0..)]
    local: Option<Vec<PathBuf>>,

    /// Port of that deployment [default: 3210]
    #[arg(long, requires = "local")]
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Systemd,
    Launchd,
}

impl Service {
    pub fn wants_json(&self) -> bool {
        matches!(self.command, Command::Status { json: true })
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::Install {
                serves,
                force,
                no_start,
            } => install(app, &serves, force, no_start).await,
            Command::Uninstall { force } => uninstall(app, force).await,
            Command::Status { json } => status(app, json).await,
            Command::Print { serves, format } => {
                let manager = match format {
                    None => Manager::here(),
                    Some(Format::Systemd) => Manager::Systemd,
                    Some(Format::Launchd) => Manager::Launchd,
                };
                app.ui
                    .data(&manager.text(&wanted(app, &serves)?, &app.paths)?);
                Ok(Exit::Ok)
            }
        }
    }
}

fn wanted(app: &App, serves: &Serves) -> Result<Wanted, Failure> {
    // By its real path: the link in /proc means another program to everybody else.
    let binary = std::env::current_exe()
        .ok()
        .filter(|path| path.is_file())
        .ok_or_else(|| {
            Failure::failed("the file of this program is not known: it was moved or replaced")
        })?;
    let mut globals = Vec::new();
    for (flag, given, path) in [
        ("--config", &app.globals.config, &app.paths.workers_file),
        ("--state-dir", &app.globals.state_dir, &app.paths.state),
    ] {
        if given.is_some() {
            globals.extend([flag.to_owned(), text(path)?]);
        }
    }
    let mut run = vec!["run".to_owned(), "--no-input".to_owned()];
    if let Some(directories) = &serves.local {
        if let Some(port) = serves.port {
            run.push(format!("--port={port}"));
        }
        run.push("--local".to_owned());
        let here = [PathBuf::from(".")];
        let given = if directories.is_empty() {
            &here[..]
        } else {
            directories
        };
        for directory in given {
            let real = std::fs::canonicalize(directory)
                .map_err(|error| Failure::usage(format!("{}: {error}", directory.display())))?;
            run.push(text(&real)?);
        }
    }
    Ok(Wanted {
        binary,
        globals,
        run,
        captured: capture::capture()?,
    })
}

fn text(path: &std::path::Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))
}

async fn install(app: &App, serves: &Serves, force: bool, no_start: bool) -> Result<Exit, Failure> {
    if serves.local.is_none() && !app.paths.workers_file.exists() {
        let path = app.paths.workers_file.clone();
        return Err(Failure::from(ConfigError::Missing { path })
            .hint("make one: orchestrator init; or serve a directory without an account: orchestrator service install --local"));
    }
    let manager = Manager::here();
    let wanted = wanted(app, serves)?;
    let file = manager.file(&app.paths);
    let written = write(&file, &manager.text(&wanted, &app.paths)?, force)?;
    let shown = app.paths.shown(&file);
    app.ui.say(if written {
        format!("wrote {shown}")
    } else {
        format!("{shown} is as it should be")
    });
    for left_out in &wanted.captured.left_out {
        app.ui
            .error(&format!("warning: left out of PATH: {left_out}"));
    }
    let program = Program::find(manager);
    let before = before(app, &program).await;
    let steps = manager.start_steps(&file, before);
    if no_start || !program.is_there() {
        if !no_start {
            app.ui.error(&format!(
                "warning: {} is not here, so nothing was started",
                manager.program()
            ));
        }
        app.ui.say(program.lines("start it with:", &steps));
        return Ok(Exit::Ok);
    }
    program.take(&steps).await?;
    app.ui.say(match before {
        Before::Another => {
            "enabled; a supervisor runs already, so the service starts with your next session. \
             Change over now: orchestrator stop, then orchestrator service install"
        }
        Before::Nothing | Before::Service => "enabled, started. logs: orchestrator logs -f",
    });
    if manager == Manager::Systemd && !manager::lingers() {
        app.ui.say(format!(
            "hint: `{}` keeps it up after you log out, and starts it at boot",
            manager::enable_linger()
        ));
    }
    Ok(Exit::Ok)
}

async fn before(app: &App, program: &Program) -> Before {
    if program.is_active().await == Some(true) {
        Before::Service
    } else if holder(&app.paths.lock_file()).is_some() {
        Before::Another
    } else {
        Before::Nothing
    }
}

async fn uninstall(app: &App, force: bool) -> Result<Exit, Failure> {
    let manager = Manager::here();
    let file = manager.file(&app.paths);
    let there = standing(&file)?;
    if there == Standing::Absent {
        app.ui.say("no service is installed");
        return Ok(Exit::Ok);
    }
    let program = Program::find(manager);
    let (first, then) = manager.stop_steps();
    let is_ours = matches!(there, Standing::Ours(_)) || force;
    if is_ours && program.is_there() {
        // One that does not run, or a manager that does not, is no reason to leave the file.
        if let Err(failure) = program.take(&first).await {
            app.ui.error(&format!("warning: {failure}"));
        }
    }
    remove(&file, force)?;
    app.ui.say(format!("removed {}", app.paths.shown(&file)));
    if !program.is_there() {
        app.ui.say(program.lines(
            &format!("{} is not here; where it is:", manager.program()),
            &[first, then].concat(),
        ));
    } else if let Err(failure) = program.take(&then).await {
        app.ui.error(&format!("warning: {failure}"));
    }
    Ok(Exit::Ok)
}

async fn status(app: &App, as_json: bool) -> Result<Exit, Failure> {
    let manager = Manager::here();
    let file = manager.file(&app.paths);
    let there = standing(&file)?;
    let program = Program::find(manager);
    let active = program.is_active().await;
    let path = match &there {
        Standing::Ours(text) => manager.path_in(text),
        _ => None,
    };
    let here = capture::capture()?;
    let outdated = path.as_deref().is_some_and(|path| path != here.path());
    let word = match &there {
        Standing::Absent => "absent",
        Standing::Ours(_) => "installed",
        Standing::Foreign => "foreign",
    };
    if as_json {
        app.ui.json(&json!({
            "schema": 1,
            "manager": manager.program(),
            "file": file,
            "service": word,
            "active": active,
            "lingers": (manager == Manager::Systemd).then(manager::lingers),
            "path": path,
            "path_outdated": outdated,
        }));
    } else {
        let runs = match active {
            Some(true) => "active".to_owned(),
            Some(false) => "not active".to_owned(),
            None => format!("not known: {} does not answer", manager.program()),
        };
        let what = match &there {
            Standing::Absent => "no service is installed".to_owned(),
            Standing::Ours(_) => format!("installed, {runs}"),
            Standing::Foreign => format!("not written by orchestrator, {runs}"),
        };
        app.ui.line(format!("{}   {what}", app.paths.shown(&file)));
        if outdated {
            app.ui
                .say("PATH has changed since: orchestrator service install takes it over");
        }
        if there == Standing::Absent {
            app.ui.say("install it: orchestrator service install");
        }
    }
    Ok(if active == Some(true) {
        Exit::Ok
    } else {
        Exit::NotRunning
    })
}
