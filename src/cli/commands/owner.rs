//! `orchestrator owner`: the key pair that proves who owns machines, workers and sessions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use crate::adapters::identity::{AUDIENCE, ISSUER, OwnerKeys, previous_path};
use crate::cli::connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::config::env;
use crate::config::parse_duration;

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
                let keys = OwnerKeys::load(&path)?;
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
                let keys = OwnerKeys::finish(&path)?;
                app.ui.say(format!(
                    "owner's key  {}   the only one again",
                    app.paths.shown(&path)
                ));
                tell_deployments(app, &keys);
                app.ui.say(
                    "until then, and in an embedded deployment until it is started again, tokens of the one before are taken",
                );
            }
        }
        Ok(Exit::Ok)
    }
}

fn tell_deployments(app: &App, keys: &OwnerKeys) {
    app.ui
        .say("a Convex deployment trusts it with these environment variables:");
    app.ui.line(format!("OWNER_ISSUER={ISSUER}"));
    app.ui.line(format!("OWNER_AUDIENCE={AUDIENCE}"));
    app.ui.line(format!("OWNER_JWKS={}", keys.jwks_data_uri()));
    app.ui.say(ONE_OWNER);
}
