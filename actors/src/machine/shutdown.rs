//! The ordered end: workers first, then what the deployments have not acknowledged, then the bridges.

use tokio::sync::oneshot;
use tracing::info;

use super::StopReport;
use super::messages::MachineMsg;
use super::state::{MachineState, Stopping};
use crate::bridge::BridgeMsg;
use crate::domain::phase::Phase;
use crate::supervision::Address;
use crate::table::{ActorCard, ActorKey, ActorKind};

impl MachineState {
    pub(super) fn stop(
        &mut self,
        myself: &Address<MachineMsg>,
        reply: oneshot::Sender<StopReport>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        let cards = self.table.snapshot();
        let live = |card: &&ActorCard| card.kind == ActorKind::Session && card.agent_pid.is_some();
        let report = StopReport {
            workers: self
                .workers
                .values()
                .filter(|entry| entry.actor.is_some())
                .count(),
            sessions: cards.iter().filter(live).count(),
            flushed: false,
        };
        info!(
            workers = report.workers,
            sessions = report.sessions,
            "stopping"
        );
        self.table
            .change(&ActorKey::machine(), |card| card.phase = Phase::Stopping);
        self.stopping = Some(Stopping {
            reply,
            report,
            flushing: false,
        });
        let actors = self.workers.iter();
        let actors: Vec<_> = actors
            .filter_map(|(id, entry)| Some((id.clone(), entry.actor.clone()?)))
            .collect();
        for (id, actor) in actors {
            self.tell_to_stop(myself, &id, &actor);
        }
        self.flush_when_stopped(myself);
    }

    pub(super) fn flush_when_stopped(&mut self, myself: &Address<MachineMsg>) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.flushing || self.workers.values().any(|entry| entry.actor.is_some()) {
            return;
        }
        stopping.flushing = true;
        let flush_ms = self.args.settings.flush_ms;
        let answers: Vec<_> = self
            .bridges
            .values()
            .filter_map(|entry| entry.actor.as_ref())
            .map(|bridge| {
                let (reply, answer) = oneshot::channel();
                let _ = bridge.cast(BridgeMsg::Shutdown { flush_ms, reply });
                answer
            })
            .collect();
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let answers = futures_util::future::join_all(answers).await;
            let flushed = answers.into_iter().all(|answer| answer.unwrap_or(false));
            let _ = myself.cast(MachineMsg::Flushed(flushed));
        });
    }

    pub(super) fn flushed(&mut self, myself: &Address<MachineMsg>, flushed: bool) {
        if let Some(stopping) = self.stopping.take() {
            let _ = stopping.reply.send(StopReport {
                flushed,
                ..stopping.report
            });
        }
        for entry in self.bridges.values() {
            if let Some(actor) = &entry.actor {
                actor.stop();
            }
        }
        myself.stop();
    }
}
