//! `orchestrator machine`: this machine as its owner and the deployment know it: its name, the assistants found on it, its
//! token, what was asked of it. `machine daemon` is another name for running, asking and stopping the supervisor.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use orchestrator_actors::domain::token::Token;
use serde_json::json;

use super::worker::tell_supervisor;
use super::{run, status, stop};
use crate::adapters::identity::Machine as Identity;
use crate::adapters::tools::{self, Search, State, Tool};
use crate::cli::connection::{connect, find};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::{deployment_url, env};
use crate::daemon::compose;
use crate::daemon::enrol::enrol;
use crate::ui::format::plural;

/// This machine: its name, its assistants, its token, and what is asked of it
#[derive(Debug, Args)]
pub struct Machine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The machine's id and name, and the assistants found at the last look
    Show {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make the machine known to the deployment, or bring what it knows up to date
    Register,
    /// Call the machine something else
    Rename {
        /// What people call it
        name: String,
    },
    /// Look again which assistants are installed, with their versions
    Tools {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a new token of the machine, which enrols an installation; the one before is refused from then on
    Token {
        /// Needed, so that nobody does it by accident
        #[arg(long, required = true)]
        rotate: bool,
    },
    /// Take all of a machine's workers over into this installation, with the machine's token
    Enrol {
        /// Read the token from standard input; otherwise MACHINE_TOKEN, or a question on the terminal
        #[arg(long)]
        token_stdin: bool,
    },
    /// Forget the machine's id: it is another machine from the next start on
    Reset {
        /// Needed, so that nobody does it by accident
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Ask a machine for something from afar, or list what was asked
    #[command(subcommand, name = "command")]
    Remote(super::machine_command::MachineCommand),
    /// Other names: run --detach, stop and status
    #[command(subcommand)]
    Daemon(Daemon),
}

#[derive(Debug, Subcommand)]
enum Daemon {
    /// As `orchestrator run --detach`
    Start(Box<run::Run>),
    /// As `orchestrator stop`
    Stop(stop::Stop),
    /// As `orchestrator status`
    Status(status::Status),
}

impl Machine {
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Command::Show { json } | Command::Tools { json } => *json,
            Command::Remote(command) => command.wants_json(),
            Command::Daemon(Daemon::Status(command)) => command.json,
            _ => false,
        }
    }

    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self.command {
            Command::Show { json } => show(app, json),
            Command::Register => register(app).await,
            Command::Rename { name } => rename(app, name).await,
            Command::Tools { json } => look(app, json).await,
            Command::Token { rotate: _ } => token(app).await,
            Command::Enrol { token_stdin } => enrolled(app, token_stdin).await,
            Command::Reset { yes: _ } => reset(app),
            Command::Remote(command) => command.execute(app).await,
            Command::Daemon(Daemon::Start(command)) => command.detached().execute(app).await,
            Command::Daemon(Daemon::Stop(command)) => command.execute(app).await,
            Command::Daemon(Daemon::Status(command)) => command.execute(app).await,
        }
    }
}

fn show(app: &App, as_json: bool) -> Result<Exit, Failure> {
    let known = compose::machine(&app.paths, None).map_err(Failure::failed)?;
    let found = tools::glance(
        &Search::from_environment(&app.paths),
        &known.identity.available_tools,
    );
    if as_json {
        app.ui.json(&json!({
            "schema": 1,
            "machineId": known.id,
            "name": known.name,
            "hostname": known.identity.hostname,
            "os": known.identity.os,
            "file": app.paths.machine_file(),
            "tools": found,
        }));
        return Ok(Exit::Ok);
    }
    app.ui
        .line(format!("machine     {} ({})", known.name, known.id));
    app.ui.line(format!(
        "host        {}, {}",
        known.identity.hostname, known.identity.os
    ));
    app.ui.line(format!(
        "file        {}",
        app.paths.shown(&app.paths.machine_file())
    ));
    print(app, &found);
    Ok(Exit::Ok)
}

async fn register(app: &App) -> Result<Exit, Failure> {
    let known = compose::machine(&app.paths, None).map_err(Failure::failed)?;
    let connection = connect(app).await?;
    compose::register_machine(&connection.client, &known).await?;
    app.ui.say(format!(
        "machine {} ({}) is registered at {}",
        known.name, known.id, connection.url
    ));
    Ok(Exit::Ok)
}

async fn rename(app: &App, name: String) -> Result<Exit, Failure> {
    if name.trim().is_empty() {
        return Err(Failure::usage("the name is empty: give it one"));
    }
    let mut known = compose::machine(&app.paths, None).map_err(Failure::failed)?;
    known.identity.name = Some(name.clone());
    save(app, &known.identity)?;
    known.name = name;
    match connect(app).await {
        Ok(connection) => compose::register_machine(&connection.client, &known).await?,
        // The file is the truth for this machine; the deployment hears of it at the next registration.
        Err(failure) => app.ui.say(format!(
            "the deployment does not know the name yet: {failure}; tell it with orchestrator machine register"
        )),
    }
    app.ui.say(format!("this machine is called {}", known.name));
    Ok(Exit::Ok)
}

async fn look(app: &App, as_json: bool) -> Result<Exit, Failure> {
    let mut known = compose::machine(&app.paths, None).map_err(Failure::failed)?;
    let search = Search::from_environment(&app.paths);
    // What was known before is not believed: whoever asks for a look wants one.
    let found = tools::inspect(&search, &[]).await;
    known.identity.available_tools.clone_from(&found);
    save(app, &known.identity)?;
    if as_json {
        app.ui.json(&json!({"schema": 1, "tools": found}));
    } else {
        print(app, &found);
    }
    Ok(Exit::Ok)
}

fn print(app: &App, found: &[Tool]) {
    for tool in found {
        let text = match &tool.state {
            State::Found { path, version, .. } => format!(
                "{}  {}",
                version.as_deref().unwrap_or("found"),
                app.paths.shown(path)
            ),
            State::Broken { path, reason, .. } => {
                format!("broken  {} {reason}", app.paths.shown(path))
            }
            State::Absent => "absent".to_owned(),
        };
        app.ui.line(format!("{:<10}  {text}", tool.name));
    }
}

async fn token(app: &App) -> Result<Exit, Failure> {
    let known = compose::machine(&app.paths, None).map_err(Failure::failed)?;
    let connection = connect(app).await?;
    compose::register_machine(&connection.client, &known).await?;
    let args = json!({"machineId": known.id});
    let made = connection.client.mutation("machines:rotate", args).await?;
    let token = made["token"].as_str().ok_or_else(|| {
        Failure::failed("the deployment answered machines:rotate without a token")
    })?;
    app.ui.line(token);
    app.ui.say(
        "keep it secret: whoever has it serves every worker of this machine; use it with orchestrator machine enrol --token-stdin, or start with it in MACHINE_TOKEN",
    );
    Ok(Exit::Ok)
}

async fn enrolled(app: &App, token_stdin: bool) -> Result<Exit, Failure> {
    let token = given_token(app, token_stdin)?;
    let Token::Machine(token) = token else {
        return Err(Failure::usage(
            "this is a worker's token: it serves one directory and enrols nothing",
        )
        .hint("orchestrator init takes it"));
    };
    let url = find(app)?.url;
    let url = deployment_url(&url, app.url_rule()).map_err(Failure::usage)?;
    let enrolled = enrol(&app.target(), &url, &token).await?;
    if let Some(own) = &enrolled.known_as {
        app.ui.say(format!(
            "warning: this installation calls itself {own}, the token is for {}",
            enrolled.machine_id
        ));
    }
    for worker in &enrolled.workers {
        app.ui.line(format!(
            "{}  {:8}  {}  {}",
            worker.worker_id,
            worker.state,
            worker.name,
            app.paths.shown(&worker.directory)
        ));
    }
    app.ui.say(format!(
        "machine {} ({}): {} and {} are here again; wrote {}",
        enrolled.name,
        enrolled.machine_id,
        plural(enrolled.workers.len(), "worker"),
        plural(enrolled.sessions, "session"),
        app.paths.shown(&app.paths.workers_file)
    ));
    for worker in &enrolled.gone {
        app.ui.say(removed_elsewhere(worker));
    }
    // What it serves with is valid until it has changed over.
    tell_supervisor(app).await?;
    Ok(Exit::Ok)
}

/// Of an entry that an enrolment took out.
pub(super) fn removed_elsewhere(worker: &str) -> String {
    format!("worker {worker} was removed on its deployment: its entry is taken out of workers.json")
}

fn given_token(app: &App, token_stdin: bool) -> Result<Token, Failure> {
    let text = if token_stdin {
        std::io::read_to_string(std::io::stdin())
            .map_err(|error| Failure::failed(format!("cannot read the token: {error}")))?
    } else if let Some(text) = env::get("MACHINE_TOKEN") {
        text
    } else if !app.globals.no_input && std::io::stdin().is_terminal() {
        rpassword::prompt_password("Machine token: ")
            .map_err(|error| Failure::failed(format!("cannot read the token: {error}")))?
    } else {
        return Err(Failure::usage("no machine token was given")
            .hint("orchestrator machine token --rotate prints one where the machine's owner is; pass it with --token-stdin"));
    };
    Token::parse(text.trim()).map_err(|_| {
        Failure::new(
            Exit::Config,
            "Machine token must be in format: machine_<machine_id>:secret_<secret>",
        )
    })
}

fn reset(app: &App) -> Result<Exit, Failure> {
    let path = app.paths.machine_file();
    match std::fs::remove_file(&path) {
        Ok(()) => app.ui.say(format!(
            "removed {}: the next start makes a new machine; workers of the old one stay with their tokens",
            app.paths.shown(&path)
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            app.ui.say("this machine has no id yet");
        }
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot remove {}: {error}",
                path.display()
            )));
        }
    }
    Ok(Exit::Ok)
}

fn save(app: &App, identity: &Identity) -> Result<(), Failure> {
    identity
        .save(&app.paths.machine_file())
        .map_err(|error| Failure::failed(error.to_string()))
}
