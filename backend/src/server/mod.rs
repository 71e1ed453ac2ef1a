//! What listens: the sync protocol, the HTTP API, identity, the Origin check.
//!
//! [`Deployment`] owns the port and an engine on a thread of its own (`engine_thread`). A request passes `origin`, then
//! becomes a call in `http`, a connection in `sync` or a file of the page in `site`; `identity` says who calls. `subscriptions`, on the engine's thread,
//! says which queries a commit made stale. A panic of the engine restarts that thread only; the port stays.

mod app;
mod deployment;
mod engine_thread;
mod http;
mod identity;
mod listener;
mod origin;
mod outside;
mod site;
mod stream;
mod subscriptions;
mod sync;
mod tuning;

pub use app::Instance;
pub use deployment::{Deployment, DeploymentConfig, ServerConfig, StartError};
pub use engine_thread::{Executor, ExecutorFactory, Phase, open_engine};
pub use identity::{AuthProvider, ProviderError};
pub use origin::{OriginError, check_origin};
pub use outside::{Outside, Tls, TlsError};
pub use site::Site;
pub use tuning::Tuning;
