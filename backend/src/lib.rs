//! A Convex deployment in one process: SQLite for documents and indexes, QuickJS running the same functions as
//! `convex/`, Convex's WebSocket sync protocol and HTTP API in front.
//!
//! [`engine`] is synchronous and lives on one thread; [`server`] is what listens. Nothing else crosses.
//! Start one with [`Deployment::start`]; every official Convex client reaches it under [`Deployment::url`].

mod clock;
pub mod engine;
pub mod functions;
pub mod server;

pub use server::{
    AuthProvider, Deployment, DeploymentConfig, Instance, Outside, Phase, ServerConfig, Site,
    StartError, Tls, TlsError, Tuning, check_origin,
};
