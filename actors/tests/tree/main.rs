//! The whole tree over fakes, under paused time: what crashes is replaced, what was promised is kept, and
//! nothing still runs at the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod chance;
mod commands;
mod crashes;
mod disk;
mod displaced;
mod fake_agent;
mod fake_deployment;
mod fake_link;
mod fake_roles;
mod fake_tasks;
mod fold;
mod gate;
mod guards;
mod health;
mod matrix;
mod outage;
mod policy;
mod ports;
mod recovery;
mod restarts;
mod rows;
mod script;
mod standing;
mod tasks;
mod turns;
mod world;
