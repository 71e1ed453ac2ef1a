//! The outside world of the orchestrator: what its actors reach through ports, and how people reach it.

pub mod adapters;
