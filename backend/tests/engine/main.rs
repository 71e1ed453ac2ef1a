//! The engine through its public API, with small functions of the tests' own.

// The lint's exception covers `#[test]` functions only, not what they share.
#![allow(clippy::unwrap_used)]

mod calls;
mod database;
mod durability;
mod isolation;
mod jobs;
mod limits;
mod product;
mod reads;
mod records;
mod runtime;
mod schema;
mod support;
mod unsupported;
