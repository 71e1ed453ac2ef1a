//! The outside world of the orchestrator.
pub mod config;
pub mod control;
pub mod ui;
