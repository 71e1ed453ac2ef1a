//! The whole tree over fakes, under paused time: what crashes is replaced, what was promised is kept, and
//! nothing still runs at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod crashes;
mod fake_agent;
mod fake_deployment;
mod turns;
mod world;
