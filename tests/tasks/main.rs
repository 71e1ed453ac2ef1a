//! Tasks against real git, a bare remote, and the real Goose. Every test has folders and a HOME of its own and leaves
//! no process behind.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod git_bad_input;
mod git_cleanup;
mod git_hostile;
mod git_steps;
mod goose;
mod goose_failures;
mod opencode;
mod repository;
mod scenarios;
mod stage;
