//! The product as a whole, with real processes: the embedded deployment, the supervisor, the wardens, the real
//! OpenCode, and a model that plays what the prompt says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod again;
mod approval;
mod bad_input;
mod chat;
mod check;
mod children;
mod children_endings;
mod children_limits;
mod children_many;
mod clock;
mod commands;
mod control_socket;
mod dev;
mod disk;
mod doctor;
mod enrolling;
mod failures;
#[path = "../agents/fake/program.rs"]
mod fake_opencode;
mod files;
mod hurt;
mod kills;
mod logs;
mod looking;
mod models;
mod notices;
mod outage;
mod outbox;
mod pairing;
mod panics;
mod permissions;
mod prod;
mod prompts;
mod push;
mod reload;
mod service;
mod sessions;
mod stage;
mod stops;
mod takeover;
mod task_commands;
mod tasks;
mod terminal;
mod tokens;

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");
