//! Whether each worker's deployment answers and takes its token, and whether its clock is ours: tokens that are made here are
//! judged there, with a minute's leeway.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use reqwest::header::DATE;
use serde_json::json;

use super::Examination;
use crate::cli::connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::probe::reach;
use crate::cli::supervisor::{SHORT, Supervisor};
use crate::config::Loaded;
use crate::control::Verb;
use crate::control::report::Report;
use crate::daemon::DaemonFile;
use crate::ui::format::quoted;

const LIMIT: Duration = Duration::from_secs(10);
/// The header knows whole seconds only.
const WARN_SKEW: u64 = 20;
const FAIL_SKEW: u64 = 60;

pub(super) async fn look(to: &mut Examination<'_>, loaded: Option<&Loaded>) {
    if to.offline {
        return;
    }
    let mut urls = BTreeSet::new();
    for worker in loaded.iter().flat_map(|loaded| &loaded.config.workers) {
        let (name, url) = (&worker.name, &worker.url);
        urls.insert(url.to_string());
        match reach(url, &worker.token).await {
            Ok(reached) if reached.state == "pending" => to.warn(
                "worker",
                format!("{name}: {url} {}", reached.text()),
                format!("orchestrator worker approve {}", quoted(name)),
            ),
            Ok(reached) => to.ok("worker", format!("{name}: {url} {}", reached.text())),
            Err(failure) => {
                let next = match failure.exit {
                    crate::cli::exit::Exit::Unreachable => format!("curl -sS {url}/version"),
                    crate::cli::exit::Exit::Refused => {
                        format!("orchestrator worker token {} --rotate", quoted(name))
                    }
                    _ => format!("orchestrator deployment check {url}"),
                };
                to.fail("worker", format!("{name}: {failure}"), next);
            }
        }
    }
    if urls.is_empty()
        && let Some(url) = DaemonFile::read(&to.app.paths.daemon_file())
            .filter(|file| file.exited.is_none())
            .and_then(|file| file.url)
    {
        urls.insert(url);
    }
    for url in urls {
        clock(to, &url).await;
    }
    owner(to).await;
    database(to).await;
}

/// Whether the deployment that commands talk to takes the owner's key. A machine that only serves workers has none.
async fn owner(to: &mut Examination<'_>) {
    let Ok(found) = connection::find(to.app) else {
        return;
    };
    if !connection::is_owner_here(to.app) {
        return;
    }
    let asked = match connection::connect(to.app).await {
        Ok(connected) => {
            let old = connected.knows_old_key;
            let answer = connected
                .client
                .query(connection::AS_OWNER, json!({}))
                .await;
            answer.map(|_| old).map_err(Failure::from)
        }
        Err(failure) => Err(failure),
    };
    let url = found.url;
    match asked {
        Ok(false) => to.ok("owner", format!("{url} takes the owner's key")),
        Ok(true) => to.warn(
            "owner",
            format!("{url} knows only the key before the owner's: it has run since before owner rotate"),
            "orchestrator restart",
        ),
        // Said of each worker already, or of nothing that runs here.
        Err(failure) if failure.exit == Exit::Unreachable => {}
        // The key that is here may be another deployment's.
        Err(failure) if found.key.is_none() => to.warn(
            "owner",
            format!("{url}: {failure}"),
            "set OWNER_JWKS there to what orchestrator owner init prints, or name its key with ORCHESTRATOR_OWNER_KEY",
        ),
        Err(failure) => to.fail("owner", format!("{url}: {failure}"), "orchestrator restart"),
    }
}

/// What the running supervisor knows of its own deployment.
async fn database(to: &mut Examination<'_>) {
    let Ok(supervisor) = Supervisor::find(to.app) else {
        return;
    };
    let Ok(report) = supervisor.ask(Verb::Ps, SHORT).await else {
        return;
    };
    let Ok(report) = serde_json::from_value::<Report>(report) else {
        return;
    };
    for one in report.deployments {
        match one.last_error.filter(|_| one.phase == "failed") {
            Some(reason) => to.fail(
                "deployment",
                format!("{}: {reason}", one.url),
                "orchestrator status",
            ),
            None => to.ok("deployment", format!("{}: {}", one.url, one.phase)),
        }
    }
}

async fn clock(to: &mut Examination<'_>, url: &str) {
    let Ok(client) = reqwest::Client::builder().timeout(LIMIT).build() else {
        return;
    };
    // Whatever it answers, it answers at a time.
    let Ok(answer) = client.get(format!("{url}/version")).send().await else {
        return;
    };
    let now = SystemTime::now();
    let told = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let Some(told) = told else {
        return;
    };
    let there = SystemTime::from(told.timestamp());
    let (skew, word) = match now.duration_since(there) {
        Ok(ahead) => (ahead.as_secs(), "ahead of"),
        Err(behind) => (behind.duration().as_secs(), "behind"),
    };
    let text = format!("this clock is {skew} s {word} that of {url}");
    match skew {
        FAIL_SKEW.. => to.fail(
            "clock",
            format!("{text}; tokens are refused"),
            "timedatectl set-ntp true",
        ),
        WARN_SKEW.. => to.warn("clock", text, "timedatectl set-ntp true"),
        _ => to.ok("clock", format!("the same as that of {url}")),
    }
}
