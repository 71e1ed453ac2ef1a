//! The engine through its public API, with small functions of the tests' own.

mod calls;
mod database;
mod durability;
mod isolation;
mod jobs;
mod limits;
mod reads;
mod runtime;
mod schema;
mod speed_tmp;
mod support;
