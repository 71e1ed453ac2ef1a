//! A Convex deployment in one process: SQLite for documents and indexes, QuickJS running the same functions as
//! `convex/`, Convex's WebSocket sync protocol and HTTP API in front.
//!
//! [`engine`] is synchronous and lives on one thread; [`server`] is what listens. Nothing else crosses.

pub mod engine;
pub mod functions;
pub mod server;
