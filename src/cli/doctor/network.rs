//! Whether each worker's deployment answers and takes its token, and whether its clock is ours: tokens that are made here are
//! judged there, with a minute's leeway.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use reqwest::header::DATE;

use super::Examination;
use crate::cli::probe::reach;
use crate::config::Loaded;
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
