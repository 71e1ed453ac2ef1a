//! What a running supervisor looks after by itself, besides signals and the control socket: the watched configuration
//! (`--watch`), workers whose directory has gone or come (down with the reason, up without being told), development
//! mode's single worker (it takes the supervisor with it), and the moment when nothing is left to do (`--exit-when-idle`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestrator_actors::machine::WorkerStart;
use orchestrator_actors::table::{ActorCard, ActorKind, Phase};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::announce::WorkerLine;
use super::running::Shared;
use super::watch::FileWatch;
use crate::config::Source;

/// How often the workers' directories are looked at.
const DIRECTORIES: Duration = Duration::from_secs(1);
/// How often, with the flag, it is looked whether something is left to do.
const LOOK: Duration = Duration::from_millis(250);
/// Nothing to do for so long means idle: between two turns of a session there is a moment without one.
const IDLE: Duration = Duration::from_secs(1);

/// What one of them asks of the main loop.
#[derive(Debug)]
pub(super) enum Errand {
    /// The configuration's file has changed.
    Reload,
    /// Nothing is left to do.
    Idle,
    /// Development mode's worker cannot serve any more.
    Failed(WorkerLine),
}

pub(super) struct Errands {
    asked: mpsc::Receiver<Errand>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Errands {
    /// `watched` looks at the configuration since before it was read.
    pub fn start(running: &Shared, watched: Option<FileWatch>) -> Self {
        let (ask, asked) = mpsc::channel(4);
        let mut tasks = Vec::new();
        let options = &running.options;
        tasks.push(spawn(look_at_directories(Arc::clone(running))));
        if let Some(watch) = watched {
            tasks.push(spawn(tell_changes(watch, ask.clone())));
        }
        if options.source.as_ref().is_some_and(Source::is_dev) {
            tasks.push(spawn(tell_failure(Arc::clone(running), ask.clone())));
        }
        if options.exit_when_idle {
            tasks.push(spawn(tell_idle(Arc::clone(running), ask)));
        }
        Self {
            asked,
            _tasks: tasks,
        }
    }

    /// May be given up and called again.
    pub async fn next(&mut self) -> Errand {
        match self.asked.recv().await {
            Some(errand) => errand,
            None => std::future::pending().await,
        }
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn tell_changes(mut watch: FileWatch, ask: mpsc::Sender<Errand>) {
    loop {
        watch.next().await;
        if ask.send(Errand::Reload).await.is_err() {
            return;
        }
    }
}

async fn look_at_directories(running: Shared) {
    let mut looks = tokio::time::interval(DIRECTORIES);
    loop {
        looks.tick().await;
        if let Err(error) = running.look_at_directories().await {
            warn!(%error, "a worker whose directory has gone or come stays as it was");
        }
    }
}

async fn tell_failure(running: Shared, ask: mpsc::Sender<Errand>) {
    let mut changes = running.tree.handle.table().changes();
    loop {
        if let Some(line) = running.cards().iter().find_map(failed) {
            let _ = ask.send(Errand::Failed(line)).await;
            return;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn failed(card: &ActorCard) -> Option<WorkerLine> {
    let ended = matches!(
        card.phase,
        Phase::Failed | Phase::Revoked | Phase::Displaced | Phase::Parked
    );
    (card.kind == ActorKind::Worker && ended).then(|| WorkerLine {
        name: card.name.clone(),
        directory: card.directory.clone().unwrap_or_default(),
        start: WorkerStart::Failed(match &card.last_error {
            Some(error) if card.phase == Phase::Parked => {
                format!("it crashed too often ({error})")
            }
            _ => card.detail.clone(),
        }),
    })
}

async fn tell_idle(running: Shared, ask: mpsc::Sender<Errand>) {
    let mut looks = tokio::time::interval(LOOK);
    let mut since = None;
    loop {
        looks.tick().await;
        if is_busy(&running.cards()) || running.tree.outbox_depth() > 0 {
            since = None;
            continue;
        }
        if since.get_or_insert_with(Instant::now).elapsed() >= IDLE {
            info!("nothing is left to do");
            let _ = ask.send(Errand::Idle).await;
            return;
        }
    }
}

/// Whether somebody works, or does not know yet whether there is work.
fn is_busy(cards: &[ActorCard]) -> bool {
    cards.iter().any(|card| match card.kind {
        ActorKind::Worker => matches!(
            card.phase,
            Phase::Starting | Phase::Restarting | Phase::Stopping
        ),
        ActorKind::Session => {
            card.turn.is_some() || !matches!(card.phase, Phase::Ready | Phase::Idle | Phase::Parked)
        }
        ActorKind::Role => card.phase != Phase::Parked,
        // A blocked one waits for somebody, and nobody is there.
        ActorKind::Task => !matches!(card.phase, Phase::Parked | Phase::Blocked),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use orchestrator_actors::table::ActorKey;

    use super::*;

    #[test]
    fn idle_is_when_every_worker_stands_and_no_session_has_a_turn() {
        let card = |kind: ActorKind, key: &str, phase: Phase| {
            let mut card = ActorCard::new(ActorKey::parse(key), None, kind, "x");
            card.phase = phase;
            card
        };
        let worker = |phase| card(ActorKind::Worker, "worker/w", phase);
        let session = |phase| card(ActorKind::Session, "session/s", phase);
        assert!(is_busy(&[worker(Phase::Starting)]));
        for phase in [Phase::Ready, Phase::Pending, Phase::Paused, Phase::Failed] {
            assert!(!is_busy(&[worker(phase), session(Phase::Idle)]));
        }
        assert!(is_busy(&[worker(Phase::Ready), session(Phase::Starting)]));
        let mut waits = session(Phase::Ready);
        waits.turn = Some("turn_1".to_owned());
        assert!(is_busy(&[worker(Phase::Ready), waits]));
    }
}
