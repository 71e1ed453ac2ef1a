//! What binds the task loop to this machine: the journal on disk, and the loop's dependencies put together from whatever
//! implements each port.

mod deps;
mod journal;

pub use deps::SystemDeps;
pub use journal::FileJournal;
