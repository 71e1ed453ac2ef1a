//! The engine: one thread, one SQLite writer, one QuickJS runtime. Functions run to completion, so every call is
//! a serial transaction at one timestamp.

pub mod api;
