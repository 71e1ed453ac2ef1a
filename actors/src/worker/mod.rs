//! One directory: plans and spawns, nothing else. Each snapshot of its inbox is compared with the sessions it
//! has, and the difference is carried out. A crashed session is replaced; one that keeps crashing is parked
//! and its turns are closed with the reason. What owners ask from afar is carried out
//! here, too: the assistants that they start for a role are actors beside the sessions, and so is the task queue while
//! there are tasks.

mod actor;
mod closing;
mod commands;
mod messages;
mod roles;
mod sessions;
mod state;
mod tasks;

pub use actor::WorkerActor;
pub use messages::{CommandMsg, DISPLACED, RoleNews, Standing, TaskNews, Wish, WorkerMsg};
pub use state::WorkerArgs;
