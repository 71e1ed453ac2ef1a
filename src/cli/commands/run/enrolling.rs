//! A start with a machine's token: this installation gets all of the machine's workers, with credentials of its own,
//! before the configuration is read. With MACHINE_TOKEN and CONVEX_URL an empty HOME is enough, at every start.
//!
//! A worker's token under that name is development mode's: it is told that it does nothing here.

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::{MachineToken, Token};

use crate::cli::commands::machine::removed_elsewhere;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::dev::{CONVEX_URL, MACHINE_TOKEN};
use crate::config::{deployment_url, env};
use crate::daemon::enrol::enrol;
use crate::daemon::{Instance, hold};
use crate::ui::format::plural;

/// What a start enrols with.
pub(super) struct Enrolling {
    token: MachineToken,
    url: DeploymentUrl,
}

impl Enrolling {
    /// If the environment has a machine's token.
    pub fn asked_for(app: &App) -> Result<Option<Self>, Failure> {
        let Some(token) = given()? else {
            return Ok(None);
        };
        let token = match token {
            Token::Machine(token) => token,
            Token::Worker(token) => {
                app.ui.error(&format!(
                    "warning: {MACHINE_TOKEN} has three parts, a worker's token ({}): it enrols nothing; orchestrator run --dev \
                     serves it, orchestrator machine token --rotate prints a machine's",
                    token.worker()
                ));
                return Ok(None);
            }
        };
        // A path that was named is a path that was meant: nothing is written there.
        if app.globals.config.is_some() {
            app.ui.error(&format!(
                "warning: {MACHINE_TOKEN} enrols nothing where the configuration is named: {} is served as it is",
                app.paths.shown(&app.paths.workers_file)
            ));
            return Ok(None);
        }
        let url = app.globals.url.clone().or_else(|| setting(CONVEX_URL));
        let url = url.ok_or_else(|| {
            Failure::new(
                Exit::Config,
                format!("{MACHINE_TOKEN} is set, and no deployment is named"),
            )
            .hint(format!("set {CONVEX_URL}, or name one with --url"))
        })?;
        let url = deployment_url(&url, app.url_rule())
            .map_err(|message| Failure::new(Exit::Config, format!("{CONVEX_URL}: {message}")))?;
        Ok(Some(Self { token, url }))
    }

    /// Takes the machine's workers over, as this installation's one supervisor: of a second start the deployment hears
    /// nothing.
    pub async fn enrol(&self, app: &App) -> Result<Instance, Failure> {
        let held = hold(&app.paths).await?;
        match enrol(&app.target(), &self.url, &self.token).await {
            Ok(enrolled) => {
                app.ui.say(format!(
                    "machine {} ({}): {} and {} are here again",
                    enrolled.name,
                    enrolled.machine_id,
                    plural(enrolled.workers.len(), "worker"),
                    plural(enrolled.sessions, "session"),
                ));
                for worker in &enrolled.gone {
                    app.ui.say(removed_elsewhere(worker));
                }
            }
            // What an earlier start got still serves, and a deployment that is away is waited for.
            Err(error) if app.paths.workers_file.exists() => app.ui.error(&format!(
                "warning: the machine could not be enrolled again, its workers stay as they are: {error}"
            )),
            Err(error) => return Err(error.into()),
        }
        Ok(held)
    }
}

fn given() -> Result<Option<Token>, Failure> {
    let Some(text) = setting(MACHINE_TOKEN) else {
        return Ok(None);
    };
    match Token::parse(text.trim()) {
        Ok(token) => Ok(Some(token)),
        Err(_) => Err(Failure::new(
            Exit::Config,
            "Machine token must be in format: machine_<machine_id>:secret_<secret>",
        )
        .hint("it is in MACHINE_TOKEN; orchestrator machine token --rotate prints one")),
    }
}

fn setting(name: &str) -> Option<String> {
    env::get(&format!("ORCHESTRATOR_{name}")).or_else(|| env::get(name))
}
