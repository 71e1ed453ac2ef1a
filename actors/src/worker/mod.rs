//! One directory: plans and spawns, nothing else. Each snapshot of its inbox is compared with the sessions it
//! has, and the difference is carried out. A crashed session is replaced; one that keeps crashing is parked
//! and its turns are closed with the reason.

mod actor;
mod closing;
mod messages;
mod sessions;
mod state;

pub use actor::WorkerActor;
pub use messages::{DISPLACED, Standing, Wish, WorkerMsg};
pub use state::WorkerArgs;
