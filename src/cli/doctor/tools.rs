//! The programs that the supervisor starts, and their versions: OpenCode as a start would find it, the others by asking them.

use std::path::PathBuf;
use std::time::Duration;

use super::Examination;
use crate::adapters::opencode::PINNED_VERSION;
use crate::adapters::opencode::install::{Search, find};
use crate::adapters::process::command::run_aside;
use crate::adapters::process::{WardSpec, own_binary};

const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn look(to: &mut Examination<'_>) {
    let npm = version("npm").await;
    let search = Search::from_environment(&to.app.paths.data);
    match (find(&search).await, &npm) {
        (Ok(Some(found)), _) => {
            let path = to.app.paths.shown(&found.binary);
            to.ok("opencode", format!("opencode {} at {path}", found.version));
        }
        (Ok(None), Some(_)) => to.warn(
            "opencode",
            format!("no opencode 1.18 in PATH; the first start installs {PINNED_VERSION} with npm"),
            "orchestrator run",
        ),
        (Ok(None), None) => to.fail(
            "opencode",
            "neither opencode nor npm, which would install it, is in PATH",
            format!("install Node.js, or opencode {PINNED_VERSION} (opencode.ai)"),
        ),
        (Err(error), _) => to.fail(
            "opencode",
            error.to_string(),
            "correct or unset ORCHESTRATOR_OPENCODE_BIN",
        ),
    }
    match npm {
        Some(found) => to.ok("npm", found),
        None => to.warn(
            "npm",
            "npm not found (it installs opencode where there is none)",
            "install Node.js",
        ),
    }
    match version("git").await {
        Some(found) => to.ok("git", found),
        None => to.warn("git", "git not found (tasks need it)", "install git"),
    }
    // Who gives no tasks needs none.
    let goose = version("goose").await;
    let goose = goose.unwrap_or_else(|| "goose not found (only tasks need it)".to_owned());
    to.ok("goose", goose);
}

/// `git 2.47.3 at /usr/bin/git`; nothing when it is not in PATH.
async fn version(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found: PathBuf = std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())?;
    let mut spec = WardSpec::new(own_binary(), &found, "/");
    spec.args = vec!["--version".to_owned()];
    if let Ok(value) = std::env::var("PATH") {
        spec.env.insert("PATH".to_owned(), value);
    }
    let told = match run_aside(spec, LIMIT).await {
        Ok(finished) if finished.success() => finished.stdout_text(),
        _ => String::new(),
    };
    let number = told
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or("of unknown version");
    Some(format!("{program} {number} at {}", found.display()))
}
