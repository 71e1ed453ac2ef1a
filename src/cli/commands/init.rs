//! `orchestrator init`: the first configuration of a machine. It asks on a terminal for what flags and files do not say,
//! looks at the directory and the deployment, and only then writes `workers.json`. `run` without a configuration comes here
//! on a terminal, too.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Args;
use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::{TOKEN_FORMAT_HELP, WorkerToken};

use super::config::beside;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::probe::{git_state, reach};
use crate::cli::prompt;
use crate::config::dev::{CONVEX_URL, Dev, MACHINE_TOKEN, ROOT_DIRECTORY, WORKER_TOKEN};
use crate::config::{Edit, Millis, NewEntry, deployment_url, inspect, template};

/// Make the first workers.json: a token, a directory, a deployment (--url)
#[derive(Debug, Default, Args)]
pub struct Init {
    /// Read the worker's token from stdin (never from the command line, where others can see it)
    #[arg(long)]
    token_stdin: bool,

    /// The directory to serve [default: the current one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Take token, URL and directory from a .env file
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    from_env: Option<PathBuf>,

    /// Replace a configuration (it is kept beside the new one), and write one that does not work yet
    #[arg(long)]
    force: bool,
}

/// What an entry is made of.
struct Entry {
    token: WorkerToken,
    directory: PathBuf,
    url: DeploymentUrl,
    idle_timeout_ms: Option<Millis>,
}

impl Init {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        self.refuse_to_replace(app)?;
        let entry = self.entry(app).await?;
        write(app, &entry, Edit::fresh(&app.paths.workers_file)?)?;
        app.ui.say("serve it: orchestrator run");
        Ok(Exit::Ok)
    }

    fn refuse_to_replace(&self, app: &App) -> Result<(), Failure> {
        let path = &app.paths.workers_file;
        if self.force || !path.exists() || is_untouched_template(path) {
            return Ok(());
        }
        let message = format!("there is a configuration at {}", path.display());
        Err(Failure::usage(message).hint(
            "orchestrator worker add DIR adds a directory to it; orchestrator init --force replaces it",
        ))
    }

    async fn entry(&self, app: &App) -> Result<Entry, Failure> {
        let file =
            match &self.from_env {
                None => None,
                Some(path) => Some(Dev::of_file(path)?.ok_or_else(|| {
                    Failure::usage(format!("there is no file {}", path.display()))
                })?),
            };
        let value = |name| file.as_ref().and_then(|file| file.value(name));
        let idle_timeout_ms = match file.as_ref().map_or(Ok(None), Dev::idle_timeout) {
            Ok(time) => time,
            Err(problem) => return Err(Failure::new(Exit::Config, problem.to_string())),
        };
        let token = self.token(app, value(WORKER_TOKEN).or_else(|| value(MACHINE_TOKEN)))?;
        app.ui.say(format!(
            "  machine {}, worker {}",
            token.machine(),
            token.worker()
        ));
        let directory = self.directory(app, value(ROOT_DIRECTORY))?;
        if let Some(state) = git_state(&directory).await {
            app.ui.say(format!("  {state}"));
        }
        let url = url(app, value(CONVEX_URL))?;
        match reach(&url, &token).await {
            Ok(reached) => app.ui.say(format!("  {}", reached.text())),
            Err(failure) if self.force => app.ui.error(&format!("warning: {failure}")),
            Err(failure) => {
                return Err(failure.hint(
                    "nothing was written; orchestrator init --force writes it all the same",
                ));
            }
        }
        Ok(Entry {
            token,
            directory,
            url,
            idle_timeout_ms,
        })
    }

    fn token(&self, app: &App, found: Option<String>) -> Result<WorkerToken, Failure> {
        let text = if self.token_stdin {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| Failure::failed(format!("cannot read stdin: {error}")))?;
            Some(line)
        } else {
            found
        };
        match text {
            Some(text) => parse_token(&text),
            None if prompt::can_ask(app) => prompt::token(app),
            None => Err(Failure::usage("no worker token is given")
                .hint("pass it on stdin with --token-stdin, or name a file with --from-env")),
        }
    }

    fn directory(&self, app: &App, found: Option<String>) -> Result<PathBuf, Failure> {
        let here = app.base().current;
        let file = self.from_env.as_deref().map(|file| beside(app, file));
        let base = match (&self.dir, file) {
            (None, Some(beside)) => beside,
            _ => app.base(),
        };
        let accept = |text: &str| inspect(text, &base.expand(text));
        let given = match (&self.dir, found) {
            (Some(dir), _) => Some(dir.display().to_string()),
            (None, Some(root)) => Some(root),
            (None, None) if self.from_env.is_some() => Some(base.current.display().to_string()),
            (None, None) => None,
        };
        match given {
            Some(given) => accept(&given).map_err(|reason| {
                Failure::new(Exit::Config, reason).hint("make the directory first")
            }),
            None if prompt::can_ask(app) => prompt::line(
                app,
                "Working directory",
                Some(&here.display().to_string()),
                accept,
            ),
            None => accept(".").map_err(|reason| Failure::new(Exit::Config, reason)),
        }
    }
}

/// The one that was named, or found, or the answer to a question.
fn url(app: &App, found: Option<String>) -> Result<DeploymentUrl, Failure> {
    let accept = |text: &str| deployment_url(text, app.url_rule());
    match app.globals.url.clone().or(found) {
        Some(text) => accept(&text).map_err(|reason| {
            Failure::new(Exit::Config, reason).hint("sample: https://your-deployment.convex.cloud")
        }),
        None if prompt::can_ask(app) => prompt::line(app, "Convex URL", None, accept),
        None => Err(Failure::usage("Convex URL is required").hint("name it with --url")),
    }
}

pub fn parse_token(text: &str) -> Result<WorkerToken, Failure> {
    WorkerToken::parse(text.trim()).map_err(|_| Failure::new(Exit::Config, TOKEN_FORMAT_HELP))
}

/// The questions of a first `run` on a terminal, and what they lead to.
pub async fn first_run(app: &App) -> Result<(), Failure> {
    let path = app.paths.shown(&app.paths.workers_file);
    app.ui.say(format!(
        "No workers configuration found. Three answers make one at {path}:"
    ));
    let entry = Init::default().entry(app).await?;
    let (edit, _) = Edit::to_add(&app.paths.workers_file, &app.base(), app.url_rule())?;
    write(app, &entry, edit)
}

fn write(app: &App, entry: &Entry, mut edit: Edit) -> Result<(), Failure> {
    let token = entry.token.expose();
    let new = NewEntry::new(&token, &entry.directory, entry.url.as_str())
        .idle_after(entry.idle_timeout_ms);
    edit.append(new)
        .and_then(|()| edit.write())
        .map_err(|error| Failure::failed(error).hint("nothing was changed"))?;
    let path = app.paths.shown(&app.paths.workers_file);
    app.ui.say(format!("wrote {path} (0600)"));
    Ok(())
}

fn is_untouched_template(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text == template::TEXT)
}
