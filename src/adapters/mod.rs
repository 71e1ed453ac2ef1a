//! The ports of `orchestrator-actors`, implemented over real sockets, files and processes.

pub mod aside;
pub mod clock;
pub mod convex;
pub mod embedded;
pub mod git;
pub mod goose;
pub mod identity;
pub mod notify;
pub mod oneshot;
pub mod opencode;
pub mod outbox;
pub mod process;
pub mod push;
pub mod roles;
pub mod tasks;
pub mod tools;
