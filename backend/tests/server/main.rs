//! The server as its clients meet it: over real sockets, on a random port, with a scripted engine behind it, and at the
//! end with the real one. One module per behaviour; `support` holds the scripted engine, the raw client and the owner's key.

// helpers of tests fail like tests
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod connections;
mod flood;
mod http_api;
mod identity;
mod lifecycle;
mod limits;
mod official_client;
mod origins;
mod outside;
mod real_engine;
mod stalls;
mod sync_protocol;
mod touched;

mod support;
