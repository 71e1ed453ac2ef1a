//! The actor tree: one `MachineActor`, a `ConvexBridge` per deployment, a `WorkerActor` per directory, a
//! `SessionActor` per chat and a `RoleActor` per assistant that was started from afar. This crate touches no network, file or process; [`ports`] says what it needs.

pub mod bridge;
pub mod calls;
pub mod counters;
pub mod deployment;
pub mod domain;
pub mod machine;
pub mod ports;
pub mod role;
pub mod session;
pub mod supervision;
pub mod table;
pub mod task_queue;
pub mod tasks;
pub mod worker;
