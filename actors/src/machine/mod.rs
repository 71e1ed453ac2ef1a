//! The root of the tree: owns the configuration, the bridges and the workers, and is the only actor that the
//! outside world talks to, through [`MachineHandle`].

mod actor;
mod bridges;
mod commands;
mod connections;
mod diff;
mod displaced;
mod handle;
mod messages;
mod reload;
mod shutdown;
mod spec;
mod state;
mod workers;

pub use connections::Connections;
pub use displaced::Displaced;
pub use handle::MachineHandle;
pub use spec::*;

use ractor::Actor;

use crate::supervision::{Address, Gauge};
use crate::table::ActorTable;

/// Starts the tree.
pub async fn start(args: MachineArgs) -> Result<MachineHandle, String> {
    let table = ActorTable::default();
    let gauge = Gauge::default();
    let root = (args, table.clone(), gauge.clone());
    let started = actor::MachineActor::spawn(None, actor::MachineActor, root).await;
    let (actor, _) = started.map_err(|error| error.to_string())?;
    Ok(MachineHandle {
        actor: Address::new(actor, gauge),
        table,
    })
}
