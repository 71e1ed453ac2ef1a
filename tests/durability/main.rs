//! The embedded deployment under violence: its process killed with -9, its sockets cut at the worst moments, all of it
//! under 64 mutations in flight from the npm client and from our own link. Afterwards every acknowledged mutation is
//! there exactly once, and every scheduled function has run exactly once.
//!
//! `DURABILITY_SEED` decides about the moments, `DURABILITY_KILLS` and `DURABILITY_CUTS` how many there are; the
//! defaults take seconds. See `chance`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start real processes, wait for random moments and panic when something is wrong"
)]

mod account;
mod chance;
mod cuts;
mod cutter;
mod files;
mod flood;
mod kills;
mod link_load;
mod load;
mod npm_load;
mod server;

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");
