//! The ports of `orchestrator-actors`, implemented over real sockets, files and processes.

pub mod convex;
pub mod identity;
pub mod outbox;
