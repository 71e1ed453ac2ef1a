//! QuickJS: the functions' modules, the host operations they reach, and one call from start to end.
//!
//! The functions see `convex/server` and `convex/values`; both are modules of ours (`backend/js`). Host operations
//! are synchronous, so an `async` function runs to its end by draining QuickJS's job queue.

mod bindings;
mod failure;
mod host;
mod modules;
mod primitives;
mod scripts;
mod timer;

pub use failure::{internal, uncaught};
pub use host::{FunctionInfo, Host};
pub use scripts::Scripts;
