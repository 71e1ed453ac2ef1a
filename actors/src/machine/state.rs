//! What the root actor knows of its children.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::messages::MachineMsg;
use super::{Connections, Displaced, MachineArgs, StopReport, WorkerSpec};
use crate::bridge::BridgeMsg;
use crate::deployment::EmbeddedMsg;
use crate::domain::ids::{DeploymentUrl, WorkerId};
use crate::domain::ledger::RestartLedger;
use crate::supervision::{Address, Tasks};
use crate::table::ActorTable;
use crate::worker::WorkerMsg;

pub struct MachineState {
    pub(super) args: MachineArgs,
    pub(super) myself: Address<MachineMsg>,
    pub(super) table: ActorTable,
    pub(super) bridges: BTreeMap<DeploymentUrl, BridgeEntry>,
    pub(super) workers: BTreeMap<WorkerId, WorkerEntry>,
    /// Who watches the embedded deployment.
    pub(super) deployment: Watcher,
    pub(super) displaced: Displaced,
    pub(super) connections: Connections,
    pub(super) stopping: Option<Stopping>,
    pub(super) tasks: Tasks,
}

pub(super) struct Watcher {
    pub(super) actor: Option<Address<EmbeddedMsg>>,
    pub(super) ledger: RestartLedger,
}

pub(super) struct BridgeEntry {
    pub(super) actor: Option<Address<BridgeMsg>>,
    pub(super) ledger: RestartLedger,
}

pub(super) struct WorkerEntry {
    pub(super) spec: Arc<WorkerSpec>,
    pub(super) actor: Option<Address<WorkerMsg>>,
    pub(super) ledger: RestartLedger,
    /// What to do when the actor has stopped: nothing follows, or this.
    pub(super) after: After,
}

pub(super) enum After {
    Restart,
    Remove,
    Become(Arc<WorkerSpec>),
}

impl WorkerEntry {
    /// What this worker will be once everything decided so far has happened; a reload starts from there.
    pub(super) fn decided(&self) -> Option<&Arc<WorkerSpec>> {
        match &self.after {
            After::Restart => Some(&self.spec),
            After::Become(spec) => Some(spec),
            After::Remove => None,
        }
    }
}

pub(super) struct Stopping {
    pub(super) reply: oneshot::Sender<StopReport>,
    pub(super) report: StopReport,
    pub(super) flushing: bool,
}
