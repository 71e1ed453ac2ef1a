//! Synchronous and pure: ids, chunk items, plans and state machines. Nothing here knows tokio, ractor,
//! a clock or a file, so every rule of the product can be tested without a process.

pub mod assistant;
pub mod call;
pub mod command;
pub mod ids;
pub mod inbox;
pub mod item;
pub mod ledger;
pub mod permission;
pub mod phase;
pub mod plain_sight;
pub mod plan;
pub mod policy;
pub mod session;
pub mod stream;
pub mod task;
pub mod token;
pub mod turn;
