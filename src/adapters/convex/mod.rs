//! A Convex deployment, cloud or embedded, over its WebSocket sync protocol.
//!
//! [`connection`] is one client: a socket that comes back, calls and subscriptions that survive it. On top of
//! it [`ConvexLink`] is the supervisor's side (port `Link`: streams, finishes, outbox) and [`OwnerClient`] the
//! command line's. `values` is the only place where JSON becomes Convex values.

pub mod connection;
mod endpoint;
mod ledger;
pub mod link;
pub mod owner;
mod settings;
mod settle;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod values;

pub use link::{ConvexLink, ConvexLinks};
pub use owner::{ClientError, OwnerAuth, OwnerClient};
pub use settings::Settings;
