//! The embedded deployment as other people's programs see it: the official clients of npm and PyPI, unchanged, hold a
//! turn with the real OpenCode; and whoever may not talk to it is kept out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod listening;
mod official;
mod refusals;
mod rotation;
mod socket;
mod waiting;

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");
