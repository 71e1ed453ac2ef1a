//! What the tests with real processes share. Everything lives in a temporary home of its own, listens on random
//! ports, waits on conditions with a deadline, and is looked for at the end: a process left behind fails the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start real processes, poll for conditions and panic when something is wrong"
)]

mod agents;
mod api;
mod cache;
mod command;
mod deployment;
mod goose;
mod home;
pub mod http;
mod local;
mod model;
mod node;
mod opencode;
mod page;
mod proxy;
mod python;
mod supervisor;
mod wait;

pub mod processes;

pub use agents::agents;
pub use api::{Api, text_of};
pub use command::to_end;
pub use deployment::Deployment;
pub use goose::goose;
pub use home::{Home, Ran};
pub use local::{Stage, script};
pub use model::Model;
pub use node::{Node, Package};
pub use opencode::users_opencode;
pub use page::{built_page, chromium};
pub use proxy::Proxy;
pub use python::Python;
pub use supervisor::Supervisor;
pub use wait::{eventually, until};
