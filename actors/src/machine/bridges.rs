//! The machine's bridges, one per deployment in use, and the place of the embedded deployment.

use ractor::{Actor, ActorId};
use tokio::sync::oneshot;
use tracing::warn;

use super::messages::MachineMsg;
use super::state::MachineState;
use crate::bridge::{Attach, BridgeArgs, BridgeMsg, ConvexBridge};
use crate::deployment::{EmbeddedArgs, EmbeddedDeployment};
use crate::domain::ids::DeploymentUrl;
use crate::domain::ledger::Verdict;
use crate::supervision::{Address, Gauge, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind};

impl MachineState {
    pub(super) async fn start_bridge(&mut self, myself: &Address<MachineMsg>, url: &DeploymentUrl) {
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
        let parked = self
            .workers
            .values()
            .filter(|entry| entry.spec.url == *url && entry.ledger.is_parked())
            .map(|entry| entry.spec.token.clone())
            .collect();
        let Some(entry) = self.bridges.get_mut(url) else {
            return;
        };
        if entry.actor.is_some() || self.stopping.is_some() {
            return;
        }
        let gauge = Gauge::default();
        let args = BridgeArgs {
            url: url.clone(),
            link: self.args.ports.links.link(url),
            connections: self.connections.clone(),
            clock: self.args.ports.clock.clone(),
            identity: self.args.identity.clone(),
            settings: self.args.settings.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: entry.ledger.total(),
            attached,
            parked,
            displaced: self.displaced.clone(),
        };
        match ConvexBridge::spawn_linked(None, ConvexBridge, args, myself.cell()).await {
            Ok((actor, _)) => entry.actor = Some(Address::new(actor, gauge)),
            // Ractor reports nothing else of an actor that failed in its start.
            Err(error) => self.bridge_fell(myself, url, error.to_string()),
        }
    }

    pub(super) fn bridge_of(&self, id: ActorId) -> Option<DeploymentUrl> {
        let mut bridges = self.bridges.iter();
        let found =
            bridges.find(|(_, entry)| entry.actor.as_ref().is_some_and(|actor| actor.id() == id));
        found.map(|(url, _)| url.clone())
    }

    pub(super) fn bridge_fell(
        &mut self,
        myself: &Address<MachineMsg>,
        url: &DeploymentUrl,
        error: String,
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
        warn!(bridge = %url, %error, ?verdict, "bridge crashed");
        let card = ActorCard::new(
            ActorKey::bridge(url),
            Some(ActorKey::machine()),
            ActorKind::Bridge,
            url.as_str(),
        );
        let now = self.args.ports.clock.boottime_ms();
        self.table
            .put_fallen(card.fallen(verdict, entry.ledger.total(), error, now));
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
        let (tasks, table) = (&mut self.tasks, &self.table);
        self.bridges.retain(|url, entry| {
            let keep = used.contains(url);
            match entry.actor.take_if(|_| !keep) {
                Some(actor) => {
                    // The last workers' finishes are still on their way.
                    let (reply, flushed) = oneshot::channel();
                    let _ = actor.cast(BridgeMsg::Shutdown { flush_ms, reply });
                    tasks.spawn(async move {
                        let _ = flushed.await;
                        actor.stop();
                    });
                }
                // It waited for its restart.
                None if !keep => table.remove(&ActorKey::bridge(url)),
                None => {}
            }
            keep
        });
    }

    pub(super) async fn start_deployment(&mut self, myself: &Address<MachineMsg>) {
        let Some(embedded) = self.args.deployment.clone() else {
            return;
        };
        if self.deployment.actor.is_some() || self.stopping.is_some() {
            return;
        }
        let gauge = Gauge::default();
        let args = EmbeddedArgs {
            embedded,
            clock: self.args.ports.clock.clone(),
            table: self.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: self.deployment.ledger.total(),
        };
        match EmbeddedDeployment::spawn_linked(None, EmbeddedDeployment, args, myself.cell()).await
        {
            Ok((actor, _)) => self.deployment.actor = Some(Address::new(actor, gauge)),
            Err(error) => self.watcher_fell(myself, error.to_string()),
        }
    }

    pub(super) fn is_watcher(&self, id: ActorId) -> bool {
        let actor = self.deployment.actor.as_ref();
        actor.is_some_and(|actor| actor.id() == id)
    }

    /// The deployment itself goes on: only nobody tells how it stands until its watcher is back.
    pub(super) fn watcher_fell(&mut self, myself: &Address<MachineMsg>, error: String) {
        self.deployment.actor = None;
        let Some(embedded) = &self.args.deployment else {
            return;
        };
        if self.stopping.is_some() {
            return;
        }
        let now = self.args.ports.clock.monotonic_ms();
        let ledger = &mut self.deployment.ledger;
        let verdict = ledger.on_crash(now, rand::random());
        warn!(%error, ?verdict, "the embedded deployment's watcher crashed");
        let mut card = ActorCard::new(
            ActorKey::deployment(),
            Some(ActorKey::machine()),
            ActorKind::Deployment,
            embedded.url().as_str(),
        );
        card.detail = embedded.detail();
        let now = self.args.ports.clock.boottime_ms();
        self.table
            .put_fallen(card.fallen(verdict, ledger.total(), error, now));
        if let Verdict::Restart { after_ms } = verdict {
            self.later(myself, after_ms, MachineMsg::DeploymentDue);
        }
    }
}
