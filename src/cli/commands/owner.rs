//! `orchestrator owner`: the key pair that proves who owns machines, workers and sessions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use crate::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};
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
        #[arg(long, default_value = "owner")]
        subject: String,
    },
    /// Print the public half, as a deployment's identity provider takes it
    Jwks,
}

const ONE_OWNER: &str = "all keys of one deployment are one owner, who reaches everything on it: to exchange a key, name \
     both for a while; several people need an identity provider of theirs";

impl Owner {
    pub fn execute(self, app: &App) -> Result<Exit, Failure> {
        let path = self.key.unwrap_or_else(|| app.paths.owner_key());
        let load = || {
            OwnerKey::load(&path).map_err(|error| {
                Failure::new(Exit::Refused, error.to_string())
                    .hint("make one with orchestrator owner init")
            })
        };
        match self.command {
            Command::Init => {
                if let Some(folder) = path.parent() {
                    crate::config::paths::private_dir(folder)?;
                }
                let key = OwnerKey::load_or_create(&path)
                    .map_err(|error| Failure::failed(error.to_string()))?;
                app.ui
                    .say(format!("owner's key  {}", app.paths.shown(&path)));
                app.ui
                    .say("a Convex deployment trusts it with these environment variables:");
                app.ui.line(format!("OWNER_ISSUER={ISSUER}"));
                app.ui.line(format!("OWNER_AUDIENCE={AUDIENCE}"));
                app.ui.line(format!("OWNER_JWKS={}", key.jwks_data_uri()));
                app.ui.say(ONE_OWNER);
            }
            Command::Token { ttl, subject } => {
                let token = load()?
                    .jwt(&subject, ttl)
                    .map_err(|error| Failure::failed(error.to_string()))?;
                app.ui.line(token.expose_secret());
            }
            Command::Jwks => app.ui.json(&load()?.jwks()),
        }
        Ok(Exit::Ok)
    }
}
