//! The outside world of the orchestrator: everything that touches a process, a file or a network.

pub mod adapters;
pub mod model;
