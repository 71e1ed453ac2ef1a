//! The outside world of the orchestrator.
pub mod config;
