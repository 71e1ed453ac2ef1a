//! Synchronous and pure: ids, chunk items, plans and state machines. Nothing here knows tokio, ractor,
//! a clock or a file, so every rule of the product can be tested without a process.

pub mod ids;
pub mod item;
pub mod stream;
pub mod token;
pub mod turn;
