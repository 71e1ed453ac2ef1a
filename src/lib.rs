//! The outside world of the orchestrator: everything that touches a process, a file or a network, and everything
//! that people see. The tree itself is in `orchestrator-actors`, the embedded deployment in `orchestrator-backend`.

pub mod adapters;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod model;
pub mod service;
pub mod telemetry;
pub mod ui;
