//! Flags that every command takes, and what commands get from them.

use std::path::PathBuf;

use anstream::ColorChoice;
use clap::{Args, ValueEnum};

use super::failure::Failure;
use crate::config::{Base, Paths, UrlRule, env};
use crate::daemon::enrol::Target;
use crate::ui::Ui;

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Configuration file [default: $XDG_CONFIG_HOME/opencode-orchestrator/workers.json]
    #[arg(long, global = true, value_name = "PATH", env = env::CONFIG, hide_env_values = true)]
    pub config: Option<PathBuf>,

    /// State folder: lock, outbox, logs [default: $XDG_STATE_HOME/opencode-orchestrator]
    #[arg(long, global = true, value_name = "DIR", env = env::STATE_DIR, hide_env_values = true)]
    pub state_dir: Option<PathBuf>,

    /// Deployment to talk to [default: $CONVEX_URL, the running supervisor's, the only one in workers.json]
    #[arg(long, global = true, value_name = "URL", env = env::URL, hide_env_values = true)]
    pub url: Option<String>,

    /// Take http:// for other hosts than this one; tokens then travel in clear
    #[arg(long, global = true)]
    pub allow_insecure_url: bool,

    /// Log level or filter, such as debug or orchestrator=trace
    #[arg(long, global = true, value_name = "LEVEL", env = env::LOG, hide_env_values = true,
          value_parser = crate::telemetry::check_filter)]
    pub log_level: Option<String>,

    /// Say more on stderr; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Say only what is asked for, and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// When to use colours; NO_COLOR and CLICOLOR_FORCE count, too
    #[arg(long, global = true, value_name = "WHEN", env = env::COLOR, hide_env_values = true,
          value_enum, default_value_t = Color::Auto)]
    pub color: Color,

    /// Never ask anything
    #[arg(long, global = true, env = env::NO_INPUT, hide_env_values = true,
          value_parser = clap::builder::FalseyValueParser::new())]
    pub no_input: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What a command works with.
pub struct App {
    pub ui: Ui,
    pub paths: Paths,
    pub globals: Globals,
}

impl App {
    pub fn new(globals: Globals) -> Result<Self, (Ui, Failure)> {
        let color = match globals.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let ui = Ui::new(color, globals.quiet);
        match Paths::from_env(globals.config.as_deref(), globals.state_dir.as_deref()) {
            Ok(paths) => Ok(Self { ui, paths, globals }),
            Err(error) => Err((ui, error.into())),
        }
    }

    pub fn url_rule(&self) -> UrlRule {
        UrlRule {
            allow_insecure: self.globals.allow_insecure_url,
        }
    }

    /// What relative paths in the configuration are relative to.
    pub fn base(&self) -> Base {
        Base {
            home: self.paths.home.clone(),
            current: std::env::current_dir().unwrap_or_else(|_| self.paths.home.clone()),
        }
    }

    /// Where a machine is enrolled.
    pub fn target(&self) -> Target<'_> {
        Target {
            paths: &self.paths,
            base: self.base(),
            rule: self.url_rule(),
        }
    }

    /// The filter for stderr: quiet unless asked.
    pub fn stderr_level(&self) -> String {
        match (&self.globals.log_level, self.globals.verbose) {
            (_, 1) => "info".to_owned(),
            (_, 2) => "debug".to_owned(),
            (_, 3..) => "trace".to_owned(),
            (Some(level), 0) => level.clone(),
            (None, 0) => "error".to_owned(),
        }
    }
}
