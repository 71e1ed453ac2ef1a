//! The supervisor's life: one instance per state folder, start in order, serve, stop in reverse order.
//!
//! [`run`] is the story. [`compose`] is the composition root, the only place that knows every adapter. Nothing here
//! prints: what there is to tell goes to an [`Announce`], what went wrong is a [`RunError`].

mod announce;
mod assistants;
pub mod compose;
mod control;
mod database_file;
mod directories;
mod dump;
mod embedded;
pub mod enrol;
mod errands;
mod error;
mod functions;
pub mod instance;
mod lines;
mod listen;
mod local;
mod manager;
mod models;
mod news;
mod notifying;
mod offering;
mod options;
mod page;
mod paused;
mod reload;
mod run;
mod running;
mod signals;
mod start;
pub mod state_file;
mod task_directory;
mod watch;
mod workshops;

pub use announce::{Announce, Ended, News, Progress, Summary, WorkerLine};
pub use embedded::{page_origin, serve_deployment};
pub use error::RunError;
pub use instance::{Holder, Instance, holder};
pub use listen::{Listen, warning as listen_warning};
pub use local::local_token;
pub use models::KnownModels;
pub use options::{LocalOptions, Mode, RunOptions};
pub use paused::Paused;
pub use reload::Reloaded;
pub use run::{hold, run};
pub use signals::StopSignals;
pub use state_file::{DaemonFile, Exited};
