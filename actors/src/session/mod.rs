//! One chat session: carries out what [`crate::domain::session::SessionMachine`] decides. It owns the session's
//! assistant (through a guard in its state) and reaches its deployment through the one link it was given.
//! No handler waits: every step runs in a task of this actor and comes back as a message.

mod actor;
mod child;
mod effects;
mod messages;
mod state;

pub use actor::SessionActor;
pub use messages::SessionMsg;
pub use state::SessionArgs;
