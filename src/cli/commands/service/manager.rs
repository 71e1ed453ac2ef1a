//! The service manager's own program, started as every child of ours is: with a time limit and a bare environment. It is asked to
//! do things; what it starts is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::process::command::run;
use crate::adapters::process::{WardSpec, own_binary};
use crate::cli::failure::Failure;
use crate::service::Manager;

/// A start is waited for until the supervisor is ready, and the first one may install OpenCode.
const LIMIT: Duration = Duration::from_mins(16);
const LOOK: Duration = Duration::from_secs(10);

/// What it needs to find the user's manager.
const NEEDED: &[&str] = &[
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
];

pub(super) struct Program {
    manager: Manager,
    path: Option<PathBuf>,
}

impl Program {
    pub fn find(manager: Manager) -> Self {
        let path = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join(manager.program()))
                .find(|program| program.is_file())
        });
        Self { manager, path }
    }

    pub fn is_there(&self) -> bool {
        self.path.is_some()
    }

    /// Nothing when nobody can say.
    pub async fn is_active(&self) -> Option<bool> {
        let finished = self.start(&self.manager.is_active(), LOOK).await?.ok()?;
        // Of systemctl: 3 and 4 mean that it does not run, or that there is none; 1 that the manager does not answer.
        match (self.manager, finished.code) {
            (_, Some(0)) => Some(true),
            (Manager::Systemd, Some(3 | 4)) | (Manager::Launchd, Some(_)) => Some(false),
            _ => None,
        }
    }

    /// One after the other, until one fails.
    pub async fn take(&self, steps: &[Vec<String>]) -> Result<(), Failure> {
        for (at, step) in steps.iter().enumerate() {
            let failed = |reason: &str| {
                Failure::failed(format!("{} failed: {reason}", self.line(step)))
                    .hint(self.lines("what is left to do:", &steps[at..]))
            };
            match self.start(step, LIMIT).await {
                Some(Ok(finished)) if finished.success() => {}
                Some(Ok(finished)) if finished.timed_out => {
                    return Err(failed("it takes too long"));
                }
                Some(Ok(finished)) => return Err(failed(&finished.last_words())),
                Some(Err(error)) => return Err(failed(&error)),
                None => return Err(failed("it is not here")),
            }
        }
        Ok(())
    }

    async fn start(
        &self,
        args: &[String],
        limit: Duration,
    ) -> Option<Result<crate::adapters::process::command::Finished, String>> {
        let program = self.path.as_ref()?;
        let mut spec = WardSpec::new(own_binary(), program, "/");
        spec.args = args.to_vec();
        for name in NEEDED {
            if let Ok(value) = std::env::var(name) {
                spec.env.insert((*name).to_owned(), value);
            }
        }
        Some(run(spec, limit).await.map_err(|error| error.to_string()))
    }

    /// To paste.
    pub fn line(&self, step: &[String]) -> String {
        format!("{} {}", self.manager.program(), step.join(" "))
    }

    pub fn lines(&self, what: &str, steps: &[Vec<String>]) -> String {
        let lines = steps.iter().map(|step| format!("\n  {}", self.line(step)));
        std::iter::once(what.to_owned()).chain(lines).collect()
    }
}

/// Whether the user's manager lives without a session of the user.
pub(super) fn lingers() -> bool {
    user().is_some_and(|name| Path::new("/var/lib/systemd/linger").join(name).exists())
}

pub(super) fn enable_linger() -> String {
    let name = user().unwrap_or_default();
    format!("loginctl enable-linger {name}")
        .trim_end()
        .to_owned()
}

fn user() -> Option<String> {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    name.ok()
        .filter(|name| !name.is_empty() && !name.contains('/'))
}
