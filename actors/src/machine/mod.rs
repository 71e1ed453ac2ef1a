//! The root of the tree: owns the configuration, the bridges and the workers, and is the only actor that the
//! outside world talks to, through [`MachineHandle`].

mod actor;
mod bridges;
mod commands;
mod diff;
mod handle;
mod messages;
mod reload;
mod shutdown;
mod spec;
mod state;
mod workers;

pub use handle::MachineHandle;
pub use spec::*;

use ractor::Actor;

use crate::table::ActorTable;

/// Starts the tree.
pub async fn start(args: MachineArgs) -> Result<MachineHandle, String> {
    let table = ActorTable::default();
    let started =
        actor::MachineActor::spawn(None, actor::MachineActor, (args, table.clone())).await;
    let (actor, _) = started.map_err(|error| error.to_string())?;
    Ok(MachineHandle { actor, table })
}
