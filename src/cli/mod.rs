//! The command line: one file per command in [`commands`], flags that hold everywhere in [`globals`], exit codes in
//! [`exit`]. It talks to a deployment as its owner ([`connection`]) and to the supervisor over its control socket
//! ([`supervisor`]). Help texts are the doc comments.

mod check;
mod commands;
mod connection;
mod credential;
mod doctor;
pub mod exit;
mod failure;
mod globals;
mod listen;
mod probe;
mod prompt;
mod resolve;
mod rows;
mod supervisor;
mod turn;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Exit;
use failure::Failure;
use globals::{App, Globals};

use crate::ui::Ui;

/// Supervises coding assistants in your directories, reached through a Convex deployment.
#[derive(Debug, Parser)]
#[command(
    name = "orchestrator",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = exit::HELP,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::init::Init),
    Run(commands::run::Run),
    Ps(commands::ps::Ps),
    Reload(commands::reload::Reload),
    Status(commands::status::Status),
    Stop(commands::stop::Stop),
    Restart(commands::restart::Restart),
    Send(commands::send::Send),
    Chat(commands::chat::Chat),
    Session(commands::session::Session),
    Permission(commands::permission::Permission),
    Models(commands::models::Models),
    Task(commands::task::Task),
    WaitForTask(commands::wait_for_task::WaitForTask),
    Worker(commands::worker::Worker),
    Machine(commands::machine::Machine),
    Owner(commands::owner::Owner),
    Pair(commands::pair::Pair),
    Device(commands::device::Device),
    Config(commands::config::Config),
    Service(commands::service::Service),
    Logs(commands::logs::Logs),
    Doctor(commands::doctor::Doctor),
    Deployment(commands::deployment::Deployment),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
    Version(commands::version::Version),
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    Debug(commands::debug::Debug),
}

impl Command {
    async fn execute(self, app: &App) -> Result<Exit, Failure> {
        match self {
            Self::Init(command) => command.execute(app).await,
            Self::Run(command) => Box::pin(command.execute(app)).await,
            Self::Ps(command) => command.execute(app).await,
            Self::Reload(command) => command.execute(app).await,
            Self::Status(command) => command.execute(app).await,
            Self::Stop(command) => command.execute(app).await,
            Self::Restart(command) => command.execute(app).await,
            Self::Send(command) => command.execute(app).await,
            Self::Chat(command) => command.execute(app).await,
            Self::Session(command) => command.execute(app).await,
            Self::Permission(command) => command.execute(app).await,
            Self::Models(command) => command.execute(app).await,
            Self::Task(command) => command.execute(app).await,
            Self::WaitForTask(command) => command.execute(app).await,
            Self::Worker(command) => command.execute(app).await,
            Self::Machine(command) => command.execute(app).await,
            Self::Owner(command) => command.execute(app),
            Self::Pair(command) => command.execute(app).await,
            Self::Device(command) => command.execute(app).await,
            Self::Config(command) => command.execute(app).await,
            Self::Service(command) => command.execute(app).await,
            Self::Logs(command) => command.execute(app).await,
            Self::Doctor(command) => command.execute(app).await,
            Self::Deployment(command) => command.execute(app).await,
            Self::Completions(command) => Ok(command.execute(app, Cli::command())),
            Self::Man(command) => command.execute(app, Cli::command()),
            Self::Version(command) => Ok(command.execute(app)),
            #[cfg(debug_assertions)]
            Self::Debug(command) => command.execute(app).await,
        }
    }

    /// Whether errors go to stdout as JSON, too.
    fn wants_json(&self) -> bool {
        match self {
            Self::Ps(command) => command.json,
            Self::Reload(command) => command.json,
            Self::Status(command) => command.json,
            Self::Send(command) => command.json,
            Self::Session(command) => command.wants_json(),
            Self::Permission(command) => command.wants_json(),
            Self::Models(command) => command.json,
            Self::Task(command) => command.wants_json(),
            Self::WaitForTask(command) => command.json,
            Self::Worker(command) => command.wants_json(),
            Self::Machine(command) => command.wants_json(),
            Self::Pair(command) => command.json,
            Self::Device(command) => command.wants_json(),
            Self::Config(command) => command.wants_json(),
            Self::Service(command) => command.wants_json(),
            Self::Logs(command) => command.json,
            Self::Doctor(command) => command.json,
            Self::Version(command) => command.json,
            _ => false,
        }
    }
}

/// The definition, without the environment variables that are set to nothing: that means unset, as everywhere.
fn command() -> clap::Command {
    fn heard(command: clap::Command) -> clap::Command {
        command
            .mut_args(|argument| {
                let empty = argument
                    .get_env()
                    .and_then(std::env::var_os)
                    .is_some_and(|value| value.is_empty());
                if empty {
                    argument.env(clap::builder::Resettable::<clap::builder::OsStr>::Reset)
                } else {
                    argument
                }
            })
            .mut_subcommands(heard)
    }
    heard(Cli::command())
}

/// What clap says in several paragraphs, as one message.
fn wrong_use(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default();
    Failure::usage(message.trim_start_matches("error: ")).hint("orchestrator --help")
}

/// The whole program, from arguments to exit code.
pub fn main() -> ExitCode {
    let parsed = command()
        .try_get_matches()
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                wrong_use(&error).show_json(Ui::new(anstream::ColorChoice::Auto, false));
            } else {
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.command.wants_json();
    let app = match App::new(cli.globals) {
        Ok(app) => app,
        Err((ui, failure)) => {
            failure.show(ui);
            return failure.exit.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)))
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            app.ui.error(&format!("error: cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let outcome = runtime.block_on(Box::pin(cli.command.execute(&app)));
    // A read of the terminal may still block a thread; it must not keep the program.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if json {
                failure.show_json(app.ui);
            } else {
                failure.show(app.ui);
            }
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
