//! `orchestrator session attach`: OpenCode's own interface on a session that is served here. On a terminal it is run, elsewhere
//! its command is printed. The password of the session's OpenCode goes through the environment, never through an argument that
//! other users could read, and is printed only on request. While the person is in there, the assistant is not idle.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::awake::{Local, conversation, keep, wake};
use super::{Found, Named};
use crate::adapters::process::foreground::run_program;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::read;
use crate::config::env;
use crate::control::{Attach as Entrance, Verb};
use crate::ui::format::quoted;

const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// More often than any idle time that makes sense.
const KEEP: Duration = Duration::from_secs(1);

/// Enter a session with OpenCode's own interface
#[derive(Debug, Args)]
pub struct Attach {
    #[command(flatten)]
    named: Named,

    /// Print the command instead of running it; without a terminal that is done anyway
    #[arg(long)]
    print: bool,

    /// Print the password of the session's OpenCode, too
    #[arg(long, requires = "print")]
    show_password: bool,
}

impl Attach {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.named.find(connection).await?;
        let local = Local::required(app, &found).await?;
        let Some(conversation) = conversation(connection, &found).await? else {
            return Err(
                Failure::usage(format!("session {} has no conversation yet", found.id))
                    .hint("send it a message first: orchestrator send --to"),
            );
        };
        wake(app, &local, &found).await?;
        let verb = Verb::Attach {
            session: found.id.clone(),
        };
        let entrance: Entrance = read("attach", local.ask(verb).await?)?;
        let arguments = arguments(&entrance, &conversation);
        let seen = std::io::stdin().is_terminal() && app.ui.stdout_is_tty();
        if self.print || !seen {
            self.show(app, &entrance, &arguments);
            return Ok(Exit::Ok);
        }
        enter(app, &local, &found, &entrance, &arguments).await
    }

    fn show(&self, app: &App, entrance: &Entrance, arguments: &[String]) {
        let password = if self.show_password {
            quoted(&entrance.password)
        } else {
            app.ui.say(
                "hint: the password is left out: orchestrator session attach --print --show-password prints it, too",
            );
            "…".to_owned()
        };
        let words: Vec<String> = std::iter::once(program(entrance).display().to_string())
            .chain(arguments.iter().cloned())
            .map(|word| quoted(&word))
            .collect();
        app.ui
            .line(format!("{PASSWORD}={password} {}", words.join(" ")));
    }
}

/// The person's own OpenCode, when one is named, else the one that serves.
fn program(entrance: &Entrance) -> PathBuf {
    env::get(env::OPENCODE_BIN).map_or_else(|| entrance.binary.clone(), PathBuf::from)
}

fn arguments(entrance: &Entrance, conversation: &str) -> Vec<String> {
    let words = [
        "attach",
        &entrance.url,
        "--dir",
        &entrance.directory,
        "--session",
        conversation,
    ];
    words.map(str::to_owned).to_vec()
}

async fn enter(
    app: &App,
    local: &Local,
    found: &Found,
    entrance: &Entrance,
    arguments: &[String],
) -> Result<Exit, Failure> {
    app.ui.say(format!(
        "entering session {} (pid {}); it stays when you leave",
        found.id, entrance.pid
    ));
    let program = program(entrance);
    let variables = [(PASSWORD, entrance.password.as_str())];
    let running = run_program(&program, arguments, &variables);
    let keeping = async {
        loop {
            tokio::time::sleep(KEEP).await;
            // The supervisor may be restarting; whoever is in there notices by himself.
            let _ = keep(local, found).await;
        }
    };
    let code = tokio::select! {
        code = running => code,
        () = keeping => return Ok(Exit::Ok),
    };
    match code {
        Ok(Some(0)) => Ok(Exit::Ok),
        Ok(_) => Ok(Exit::Failed),
        Err(error) => Err(Failure::new(
            Exit::ToolMissing,
            format!("cannot run {}: {error}", program.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_no_argument_and_a_path_stays_one_word() {
        let entrance = Entrance {
            pid: 1,
            url: "http://127.0.0.1:4096".to_owned(),
            directory: "/home/me/my shop's".to_owned(),
            binary: "/usr/bin/opencode".into(),
            password: "hunter2".to_owned(),
        };
        let arguments = arguments(&entrance, "ses_1");
        assert!(!arguments.join(" ").contains("hunter2"));
        assert_eq!(quoted(&arguments[3]), r"'/home/me/my shop'\''s'");
        assert_eq!(quoted(&arguments[1]), "http://127.0.0.1:4096");
        assert_eq!(quoted(""), "''");
    }
}
