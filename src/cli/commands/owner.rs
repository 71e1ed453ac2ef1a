//! `orchestrator owner`: the key pair that proves who owns machines, workers and sessions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use crate::adapters::identity::{AUDIENCE, ISSUER, KeyError, OwnerKeys, previous_path};
use crate::cli::connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::env;
use crate::config::parse_duration;
use crate::daemon::holder;
use crate::ui::format::quoted;

/// The owner's key and identity
#[derive(Debug, Args)]
pub struct Owner {
    #[command(subcommand)]
    command: Command,

    /// The key file [default: $XDG_DATA_HOME/opencode-orchestrator/local/owner.key]
    #[arg(long, global = true, value_name = "PATH", env = env::OWNER_KEY, hide_env_values = true)]
    key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key if there is none, and say what a deployment needs to know of it
    Init,
    /// Print a token that proves the owner for a while, for ORCHESTRATOR_OWNER_TOKEN and other clients
    Token {
        /// How long it is valid
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration)]
        ttl: Duration,
        /// Who it speaks for
        #[arg(long, default_value = "owner", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        subject: String,
        /// Print the link that opens the deployment's page with it
        #[arg(long)]
        link: bool,
    },
    /// Print the public half, as a deployment's identity provider takes it
    Jwks,
    /// Exchange the key: a new one signs from now on, and the one before is trusted beside it until --finish
    ///
    /// A Convex deployment takes the change when OWNER_JWKS is set to what this prints; an embedded one when it is started
    /// again. When no token of the old key is needed any more, `--finish` removes it. A key that others have seen is
    /// finished at once.
    Rotate {
        /// Remove the key before this one, and say what a deployment needs to know now
        #[arg(long)]
        finish: bool,
    },
}

const ONE_OWNER: &str = "all keys of one deployment are one owner, who reaches everything on it: to exchange a key, name \
     both for a while; several people need an identity provider of theirs";

impl Owner {
    pub fn execute(self, app: &App) -> Result<Exit, Failure> {
        let named = self.key.clone();
        let path = self.key.unwrap_or_else(|| app.paths.owner_key());
        match self.command {
            Command::Init => {
                if let Some(folder) = path.parent() {
                    crate::config::paths::private_dir(folder)?;
                }
                let keys = OwnerKeys::load_or_create(&path)?;
                app.ui
                    .say(format!("owner's key  {}", app.paths.shown(&path)));
                tell_deployments(app, &keys);
            }
            Command::Token { ttl, subject, link } => {
                let keys =
                    OwnerKeys::load(&path).map_err(|error| missing(error, named.as_deref()))?;
                let token = keys.current.jwt(&subject, ttl)?;
                let token = token.expose_secret();
                if link {
                    // Behind the `#` it stays in the browser: it reaches neither a server's log nor a referrer.
                    let url = connection::find(app)?.url;
                    app.ui
                        .line(format!("{}/#token={token}", url.trim_end_matches('/')));
                } else {
                    app.ui.line(token);
                }
            }
            Command::Jwks => app.ui.json(&OwnerKeys::load(&path)?.jwks()),
            Command::Rotate { finish: false } => {
                let keys = OwnerKeys::rotate(&path)?;
                app.ui.say(format!(
                    "owner's key  {}   new; the one before is {}",
                    app.paths.shown(&path),
                    app.paths.shown(&previous_path(&path))
                ));
                tell_deployments(app, &keys);
                app.ui.say(
                    "an embedded deployment takes it when it is started again; afterwards: orchestrator owner rotate --finish",
                );
            }
            Command::Rotate { finish: true } => {
                knows_the_new_one(&path)?;
                let keys = OwnerKeys::finish(&path)?;
                app.ui.say(format!(
                    "owner's key  {}   the only one again",
                    app.paths.shown(&path)
                ));
                tell_deployments(app, &keys);
                app.ui.say(
                    "until its OWNER_JWKS is set to that, a Convex deployment takes tokens of the key before, and an embedded \
                     one until it is started again",
                );
            }
        }
        Ok(Exit::Ok)
    }
}

/// The hint makes the key where it was looked for.
fn missing(error: KeyError, named: Option<&Path>) -> Failure {
    let is_missing =
        matches!(&error, KeyError::File { source, .. } if source.kind() == ErrorKind::NotFound);
    let failure = Failure::from(error);
    match named.filter(|_| is_missing) {
        Some(path) => failure.hint(format!(
            "make one with orchestrator owner init --key {}",
            quoted(&path.display().to_string())
        )),
        None => failure,
    }
}

/// An embedded deployment that has run since before the exchange knows only the key that is about to be removed: without
/// it, nobody would be its owner until it is started again.
fn knows_the_new_one(key: &Path) -> Result<(), Failure> {
    let Some(folder) = key.parent().filter(|_| previous_path(key).exists()) else {
        return Ok(());
    };
    let Some(holder) = holder(&folder.join("lock")) else {
        return Ok(());
    };
    let exchanged = std::fs::metadata(key).and_then(|file| file.modified());
    let exchanged = exchanged
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    if exchanged.is_none_or(|at| at.as_millis() < u128::from(holder.since_ms)) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the embedded deployment that runs (pid {}) knows only the key before this one",
        holder.pid
    ))
    .hint("start it again first (orchestrator restart), then: orchestrator owner rotate --finish"))
}

fn tell_deployments(app: &App, keys: &OwnerKeys) {
    app.ui
        .say("a Convex deployment trusts it with these environment variables:");
    app.ui.line(format!("OWNER_ISSUER={ISSUER}"));
    app.ui.line(format!("OWNER_AUDIENCE={AUDIENCE}"));
    app.ui.line(format!("OWNER_JWKS={}", keys.jwks_data_uri()));
    app.ui.say(ONE_OWNER);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Instance;

    /// It removed the one key that the running deployment knew, and its owner was locked out.
    #[tokio::test]
    async fn an_exchange_is_not_finished_while_a_deployment_runs_that_knows_only_the_old_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("owner.key");
        OwnerKeys::load_or_create(&key).unwrap();
        assert!(knows_the_new_one(&key).is_ok(), "there is no exchange");
        let held = Instance::acquire(&folder.path().join("lock"), 1)
            .await
            .unwrap();
        OwnerKeys::rotate(&key).unwrap();
        let refused = knows_the_new_one(&key).unwrap_err();
        assert!(
            refused.message.contains("knows only the key before"),
            "{}",
            refused.message
        );
        assert!(refused.hint.unwrap().contains("restart"));
        drop(held);
        assert!(knows_the_new_one(&key).is_ok(), "nothing runs");
        let _held = Instance::acquire(&folder.path().join("lock"), u64::MAX)
            .await
            .unwrap();
        assert!(
            knows_the_new_one(&key).is_ok(),
            "it was started after the exchange"
        );
    }

    #[test]
    fn a_key_that_is_missing_is_made_where_it_was_looked_for() {
        let error = || OwnerKeys::load(Path::new("/nowhere/x.key")).err().unwrap();
        let hint = missing(error(), Some(Path::new("/nowhere/x.key")))
            .hint
            .unwrap();
        assert!(hint.ends_with("owner init --key /nowhere/x.key"), "{hint}");
        assert!(missing(error(), None).hint.unwrap().ends_with("owner init"));
    }
}
