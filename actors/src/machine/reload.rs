//! From one configuration to the next: the difference, told and applied worker by worker.

use super::diff::{Change, diff};
use super::messages::MachineMsg;
use super::state::{After, MachineState};
use super::{Desired, ReloadReport};
use crate::bridge::{Attach, BridgeMsg};
use crate::domain::ids::WorkerId;
use crate::supervision::Address;
use crate::table::{ActorKey, ActorKind};
use crate::worker::WorkerMsg;

impl MachineState {
    pub(super) async fn reload(
        &mut self,
        myself: &Address<MachineMsg>,
        desired: &Desired,
        dry_run: bool,
    ) -> ReloadReport {
        let present = self
            .workers
            .iter()
            .filter_map(|(id, entry)| Some((id.clone(), entry.decided()?.clone())))
            .collect();
        let changes = diff(&present, &desired.workers);
        let mut report = ReloadReport::default();
        let mut touched = Vec::new();
        for change in &changes {
            match change {
                Change::Add(spec) => report.added.push(spec.name.clone()),
                Change::Remove(spec) => {
                    report.removed.push(spec.name.clone());
                    touched.push(spec.id().clone());
                }
                Change::Replace(spec, what) => {
                    report.changed.push((spec.name.clone(), what.clone()));
                    touched.push(spec.id().clone());
                }
                Change::Configure(spec, what) => {
                    report.changed.push((spec.name.clone(), what.clone()));
                }
                Change::Keep => report.unchanged += 1,
            }
        }
        report.sessions_kept = self.sessions_besides(&touched);
        if !dry_run && self.stopping.is_none() {
            for change in changes {
                self.apply(myself, change).await;
            }
        }
        report
    }

    pub(super) fn sessions_besides(&self, touched: &[WorkerId]) -> usize {
        let touched: Vec<_> = touched.iter().map(ActorKey::worker).collect();
        let cards = self.table.snapshot();
        let sessions = cards.iter().filter(|card| card.kind == ActorKind::Session);
        sessions
            .filter(|card| {
                card.parent
                    .as_ref()
                    .is_none_or(|parent| !touched.contains(parent))
            })
            .count()
    }

    pub(super) async fn apply(&mut self, myself: &Address<MachineMsg>, change: Change) {
        match change {
            Change::Keep => {}
            Change::Add(spec) => match self.workers.get_mut(spec.id()) {
                // Its removal is still under way.
                Some(entry) => entry.after = After::Become(spec),
                None => self.add(myself, spec).await,
            },
            Change::Remove(spec) => self.retire(myself, spec.id(), After::Remove).await,
            Change::Replace(spec, _) => {
                let id = spec.id().clone();
                self.retire(myself, &id, After::Become(spec)).await;
            }
            Change::Configure(spec, _) => {
                if let Some(entry) = self.workers.get_mut(spec.id()) {
                    if let After::Become(next) = &mut entry.after {
                        *next = spec;
                        return;
                    }
                    let has_new_token = entry.spec.token != spec.token;
                    entry.spec = spec.clone();
                    let Some(actor) = &entry.actor else { return };
                    let _ = actor.cast(WorkerMsg::Configure(spec.clone()));
                    if has_new_token
                        && let Some(bridge) = self.bridges.get(&spec.url)
                        && let Some(bridge) = &bridge.actor
                    {
                        // In the place of the attachment under the old one; its sessions get the new right from it.
                        let _ = bridge.cast(BridgeMsg::Attach(Attach {
                            token: spec.token.clone(),
                            worker: actor.clone(),
                        }));
                    }
                }
            }
        }
    }
}
