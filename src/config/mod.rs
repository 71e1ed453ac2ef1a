//! What the user tells the program before it starts: folders, the environment, `workers.json`.
//!
//! `workers.json` is JSONC, read by a real parser, and every mistake in it is found in one pass, each with the path of
//! its field and its place in the file. Nothing here prints: `src/cli` renders, the daemon logs.
//! Layering is plain: flag > environment > file > default.

pub mod dev;
pub mod dotenv;
mod edit;
pub mod env;
mod fields;
mod limits;
mod load;
pub mod mask;
mod notify;
mod origin;
pub mod paths;
mod permissions;
mod place;
mod problem;
pub mod schema;
mod source;
mod tasks;
pub mod template;
mod time;
mod url;
mod workers;

#[cfg(test)]
mod tests;

pub use edit::{Edit, EditError, NewEntry};
pub use limits::Limits;
pub use load::{Loaded, load, parse};
pub use notify::{Notify, Quiet};
pub use origin::{Origin, Origins};
pub use paths::Paths;
pub use permissions::{ANSWER_TIMEOUT_MS, DEFAULT_ANSWER_TIMEOUT_MS};
pub use place::{Base, inspect};
pub use problem::{ConfigError, Problem};
pub use source::{Source, SourceKind};
pub use tasks::shown as shown_tasks;
pub use time::{Millis, parse_duration};
pub use url::{NEEDS_HTTPS, UrlRule, deployment_url};
pub use workers::{
    DEFAULT_IDLE_TIMEOUT_MS, DEFAULT_MAX_SESSIONS, NAME_RULE, PRESENCE_MS, SYNC_INTERVAL_MS,
    WorkerEntry, WorkersConfig, is_name,
};
