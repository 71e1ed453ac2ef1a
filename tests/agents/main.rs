//! The agents' adapter against the real OpenCode (pinned version, installed by the product's own installer) and the scripted
//! model. Every test has folders, locks and a model of its own and leaves no process behind. Linux only: what is
//! proved here about processes is proved by `/proc`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod boot;
mod crash;
mod endings;
mod fake;
mod faults;
mod harness;
mod limits;
mod other_process;
mod real_faults;
mod turns;
mod wards;
