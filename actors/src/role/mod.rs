//! One assistant that plays a role of a room: one life of one child. It knows how to start, show and stop it, and no
//! policy: a child that fails makes the actor fail, and its worker decides with the ledger whether there is a next life.

mod actor;
mod messages;
mod state;

pub use actor::RoleActor;
pub use messages::RoleMsg;
pub use state::RoleArgs;
