//! How each worker stands, one line a worker: what the summary of a start shows, and what a start fails with when none of
//! them can serve.

use std::sync::PoisonError;
use std::time::Duration;

use orchestrator_actors::machine::{Desired, WorkerSpec, WorkerStart};
use orchestrator_actors::ports::link::LinkPhase;
use orchestrator_actors::table::{ActorKey, Phase};

use super::announce::WorkerLine;
use super::local::Asked;
use super::running::Running;
use crate::config::WorkersConfig;

/// How long the summary waits for workers that are still connecting.
const SUMMARY_LIMIT: Duration = Duration::from_secs(10);
/// How often the links are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn missing_lines(asked: &[Asked]) -> Vec<WorkerLine> {
    asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::Missing { given, reason } => Some(WorkerLine {
                name: given.clone(),
                directory: given.clone(),
                start: WorkerStart::Failed(reason.clone()),
            }),
            Asked::There(_) => None,
        })
        .collect()
}

/// The workers that cannot be served whatever else happens.
pub(super) fn broken_lines(config: &WorkersConfig) -> Vec<WorkerLine> {
    config
        .workers
        .iter()
        .filter_map(|worker| {
            Some(WorkerLine {
                name: worker.name.clone(),
                directory: worker.directory.display().to_string(),
                start: WorkerStart::Failed(worker.broken.clone()?),
            })
        })
        .collect()
}

pub(super) async fn worker_lines(running: &Running) -> Vec<WorkerLine> {
    let desired = running
        .desired
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let starts = tokio::select! {
        starts = running.tree.handle.started(SUMMARY_LIMIT) => starts,
        () = settled(running, &desired) => running.tree.handle.started(Duration::ZERO).await,
    };
    let directory = |name: &str| {
        desired
            .workers
            .iter()
            .find(|worker| worker.name == name)
            .map(|worker| running.options.paths.shown(worker.directory.as_path()))
            .unwrap_or_default()
    };
    let explained = |name: &str, start: WorkerStart| match start {
        WorkerStart::Waiting(reason) => {
            let offline = desired
                .workers
                .iter()
                .filter(|worker| worker.name == name)
                .find_map(|worker| offline(running, worker));
            WorkerStart::Waiting(offline.unwrap_or(reason))
        }
        other => other,
    };
    let mut lines: Vec<WorkerLine> = starts
        .into_iter()
        .map(|(name, start)| WorkerLine {
            directory: directory(&name),
            start: explained(&name, start),
            name,
        })
        .collect();
    // As they are configured, not as their ids sort.
    lines.sort_by_key(|line| {
        let mut workers = desired.workers.iter();
        workers.position(|worker| worker.name == line.name)
    });
    lines
}

/// Until every worker stands somewhere, or its deployment does not answer: then there is nothing more to wait for.
async fn settled(running: &Running, desired: &Desired) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let table = running.tree.handle.table();
        let waits = |worker: &WorkerSpec| {
            table
                .get(&ActorKey::worker(worker.id()))
                .is_none_or(|card| card.phase == Phase::Starting)
        };
        let mut open = desired.workers.iter().filter(|worker| waits(worker));
        if open.all(|worker| offline(running, worker).is_some()) {
            return;
        }
    }
}

/// Why a worker's deployment cannot be reached now.
fn offline(running: &Running, worker: &WorkerSpec) -> Option<String> {
    let status = running.tree.link_status(&worker.url);
    (status.phase == LinkPhase::Offline).then(|| {
        let reason = status.last_error.unwrap_or_else(|| "no answer".to_owned());
        format!(
            "{} is offline, tried again until it answers ({reason})",
            worker.url
        )
    })
}
