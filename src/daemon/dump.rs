//! SIGUSR1: the actor tree goes into the log, one line an actor, whatever the supervisor is doing. It reads the table as `ps` does,
//! so it works while an actor is stuck and when the control socket cannot be reached.

use std::sync::Weak;

use orchestrator_actors::table::ActorCard;
use tokio::signal::unix::Signal;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::running::{Running, Shared};

/// Answers the signal until it is dropped.
pub(super) fn on_signal(signal: Option<Signal>, running: &Shared) -> Option<AbortOnDropHandle<()>> {
    let running = Shared::downgrade(running);
    signal.map(|signal| AbortOnDropHandle::new(tokio::spawn(answer(signal, running))))
}

async fn answer(mut signal: Signal, running: Weak<Running>) {
    while signal.recv().await.is_some() {
        let Some(running) = running.upgrade() else {
            return;
        };
        dump(&running);
    }
}

fn dump(running: &Running) {
    let cards = running.cards();
    info!(
        actors = cards.len(),
        outbox = running.tree.outbox_depth(),
        "dump of the actor tree"
    );
    for card in &cards {
        line(card);
    }
}

fn line(card: &ActorCard) {
    let reading = card.gauge.read();
    info!(
        actor = %card.key,
        parent = card.parent.as_ref().map(tracing::field::display),
        name = %card.name,
        phase = ?card.phase,
        detail = %card.detail,
        restarts = card.restarts,
        incarnation = card.incarnation,
        mailbox = reading.waiting,
        stuck = reading.stuck.map(|stuck| stuck.doing),
        pid = card.agent_pid,
        turn = card.turn,
        chunks = card.chunks,
        error = card.last_error,
        "actor"
    );
}
