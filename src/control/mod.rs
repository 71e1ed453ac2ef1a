//! How the command line talks to the running supervisor: newline-delimited JSON over a unix socket that only the same
//! user can use. One request, one answer; every frame carries the protocol's version and is bounded.
//! Reading state never sends a message to an actor: the answers come from the actor table.

mod client;
pub mod metrics;
pub mod protocol;
pub mod report;
mod server;
mod socket;
mod tally;

pub use client::{ClientError, call};
pub use protocol::{Answer, Attach, Refusal, Request, Verb};
pub use server::{Handler, Server, ServerError};
pub use socket::{SocketError, socket_path};
pub use tally::Tally;
