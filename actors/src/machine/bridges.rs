//! The machine's bridges, one per deployment in use, and the place of the embedded deployment.

use ractor::{Actor, ActorId, ActorRef};
use tokio::sync::oneshot;
use tracing::warn;

use super::messages::MachineMsg;
use super::state::MachineState;
use crate::bridge::{Attach, BridgeArgs, BridgeMsg, ConvexBridge};
use crate::deployment::{EmbeddedArgs, EmbeddedDeployment};
use crate::domain::ids::DeploymentUrl;
use crate::domain::ledger::Verdict;
use crate::supervision::{ChildEnd, next_incarnation};

impl MachineState {
    pub(super) async fn start_bridge(
        &mut self,
        myself: &ActorRef<MachineMsg>,
        url: &DeploymentUrl,
    ) {
        let attached = self
            .workers
            .values()
            .filter(|entry| entry.spec.url == *url)
            .filter_map(|entry| {
                Some(Attach {
                    token: entry.spec.token.clone(),
                    worker: entry.actor.clone()?,
                })
            })
            .collect();
        let Some(entry) = self.bridges.get_mut(url) else {
            return;
        };
        if entry.actor.is_some() {
            return;
        }
        let args = BridgeArgs {
            url: url.clone(),
            link: self.args.ports.links.link(url),
            stores: self.args.ports.stores.clone(),
            clock: self.args.ports.clock.clone(),
            identity: self.args.identity.clone(),
            settings: self.args.settings.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            restarts: entry.ledger.total(),
            attached,
        };
        match ConvexBridge::spawn_linked(None, ConvexBridge, args, myself.get_cell()).await {
            Ok((actor, _)) => entry.actor = Some(actor),
            Err(error) => warn!(bridge = %url, %error, "bridge did not start"),
        }
    }

    pub(super) fn bridge_of(&self, id: ActorId) -> Option<DeploymentUrl> {
        let mut bridges = self.bridges.iter();
        let found = bridges.find(|(_, entry)| {
            entry
                .actor
                .as_ref()
                .is_some_and(|actor| actor.get_id() == id)
        });
        found.map(|(url, _)| url.clone())
    }

    pub(super) fn bridge_ended(
        &mut self,
        myself: &ActorRef<MachineMsg>,
        url: &DeploymentUrl,
        end: ChildEnd,
    ) {
        let now = self.args.ports.clock.monotonic_ms();
        let Some(entry) = self.bridges.get_mut(url) else {
            return;
        };
        entry.actor = None;
        if self.stopping.is_some() {
            return;
        }
        let verdict = entry.ledger.on_crash(now, rand::random());
        warn!(bridge = %url, ?end, ?verdict, "bridge crashed");
        // Its successor knows nothing of what was taken; taking it again would fight with whoever has it now.
        self.args.identity.take_over = false;
        let Verdict::Restart { after_ms } = verdict else {
            return;
        };
        self.later(myself, after_ms, MachineMsg::BridgeDue(url.clone()));
    }

    pub(super) fn drop_unused_bridges(&mut self) {
        let used: Vec<_> = self
            .workers
            .values()
            .map(|entry| entry.spec.url.clone())
            .collect();
        let flush_ms = self.args.settings.flush_ms;
        let tasks = &mut self.tasks;
        self.bridges.retain(|url, entry| {
            let keep = used.contains(url);
            if !keep && let Some(actor) = entry.actor.take() {
                // The last workers' finishes are still on their way.
                let (reply, flushed) = oneshot::channel();
                let _ = actor.cast(BridgeMsg::Shutdown { flush_ms, reply });
                tasks.spawn(async move {
                    let _ = flushed.await;
                    actor.stop(None);
                });
            }
            keep
        });
    }

    pub(super) async fn start_deployment(&mut self, myself: &ActorRef<MachineMsg>) {
        let Some(embedded) = self.args.deployment.clone() else {
            return;
        };
        let args = EmbeddedArgs {
            embedded,
            clock: self.args.ports.clock.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
        };
        match EmbeddedDeployment::spawn_linked(None, EmbeddedDeployment, args, myself.get_cell())
            .await
        {
            Ok((actor, _)) => self.deployment = Some(actor.get_id()),
            Err(error) => warn!(%error, "the embedded deployment is not watched"),
        }
    }
}
