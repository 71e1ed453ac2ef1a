//! What `orchestrator doctor` looks at: one file a subject, each of which adds findings. A look changes nothing; with `--fix` only
//! what is ours is mended: file modes, the socket and the processes of a supervisor that is dead.

mod files;
mod network;
mod remains;
mod service;
mod system;
mod tools;

use serde::Serialize;

use super::globals::App;
use crate::config::{ConfigError, Loaded, Source, SourceKind};

/// What was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: `opencode`, `secrets`, `deployment`.
    pub check: &'static str,
    pub level: Level,
    pub text: String,
    /// A command, mostly.
    pub next: Option<String>,
    /// It was mended just now.
    pub fixed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

/// What to look at.
pub struct Examination<'a> {
    pub app: &'a App,
    pub fix: bool,
    pub offline: bool,
    findings: Vec<Finding>,
}

impl<'a> Examination<'a> {
    pub fn new(app: &'a App, fix: bool, offline: bool) -> Self {
        Self {
            app,
            fix,
            offline,
            findings: Vec::new(),
        }
    }

    /// All of it; what one check finds holds up no other.
    pub async fn all(mut self) -> Vec<Finding> {
        tools::look(&mut self).await;
        let loaded = self.configuration();
        files::secrets(&mut self);
        files::folders(&mut self);
        system::disk(&mut self);
        system::socket(&mut self);
        system::limits(&mut self);
        remains::look(&mut self).await;
        service::look(&mut self);
        network::look(&mut self, loaded.as_ref()).await;
        self.findings
    }

    fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Level::Ok, text.into(), None);
    }

    fn warn(&mut self, check: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.add(check, Level::Warn, text.into(), Some(next.into()));
    }

    fn fail(&mut self, check: &'static str, text: impl Into<String>, next: impl Into<String>) {
        self.add(check, Level::Fail, text.into(), Some(next.into()));
    }

    fn fixed(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Level::Ok, text.into(), None);
        if let Some(last) = self.findings.last_mut() {
            last.fixed = true;
        }
    }

    fn add(&mut self, check: &'static str, level: Level, text: String, next: Option<String>) {
        self.findings.push(Finding {
            check,
            level,
            text,
            next,
            fixed: false,
        });
    }

    fn configuration(&mut self) -> Option<Loaded> {
        let app = self.app;
        let path = &app.paths.workers_file;
        let shown = app.paths.shown(path);
        let source = Source {
            kind: SourceKind::Workers(path.clone()),
            base: app.base(),
            rule: app.url_rule(),
            only: Vec::new(),
            url: None,
        };
        match source.load() {
            Ok(loaded) => {
                let workers = crate::ui::format::plural(loaded.config.workers.len(), "worker");
                self.ok("configuration", format!("{shown}: {workers}"));
                // Modes are looked at with those of the other secrets.
                let warnings = loaded
                    .warnings
                    .iter()
                    .filter(|one| one.line > 1 || !one.path.is_empty());
                for warning in warnings {
                    self.warn(
                        "configuration",
                        warning.to_string(),
                        "orchestrator config check",
                    );
                }
                Some(loaded)
            }
            Err(ConfigError::Missing { .. })
                if app.paths.local().join("local.sqlite3").exists() =>
            {
                self.ok("configuration", "no workers.json; run --local needs none");
                None
            }
            Err(ConfigError::Missing { .. }) => {
                self.fail(
                    "configuration",
                    format!("no configuration at {shown}"),
                    "orchestrator init",
                );
                None
            }
            Err(ConfigError::Invalid { problems, .. }) => {
                let count = crate::ui::format::plural(problems.len(), "problem");
                self.fail(
                    "configuration",
                    format!("{shown}: {count}"),
                    "orchestrator config check",
                );
                None
            }
            Err(error) => {
                self.fail(
                    "configuration",
                    error.to_string(),
                    "orchestrator config check",
                );
                None
            }
        }
    }
}
