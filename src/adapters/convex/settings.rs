//! Time limits and bounds of a connection.

use std::time::Duration;

use super::endpoint::{is_local, sync_endpoint};
use crate::adapters::clock::slept_ms;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Least time between two appends; 0 sends as soon as the last one is answered.
    pub append_spacing: Duration,
    /// A call without an answer for this long drops the socket and is sent again.
    pub call_timeout: Duration,
    /// Silence of the server (which pings) for this long drops the socket.
    pub read_timeout: Duration,
    pub connect_timeout: Duration,
    pub backoff_first: Duration,
    pub backoff_cap: Duration,
    /// How long the machine has slept so far: a socket from before a sleep is not trusted.
    pub slept_ms: fn() -> u64,
    /// Calls that may wait for an answer. One more is refused at once, without being sent.
    pub max_calls: usize,
}

impl Settings {
    /// On this machine calls cost nothing and the server is back in a moment; elsewhere both cost. With either one a
    /// deployment that is dead costs at most 20 attempts in its first minute (a test counts them).
    pub fn suited_to(deployment: &str) -> Self {
        let local = sync_endpoint(deployment).is_ok_and(|endpoint| is_local(&endpoint));
        Self {
            append_spacing: Duration::from_millis(if local { 0 } else { 100 }),
            call_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            backoff_first: Duration::from_millis(if local { 20 } else { 100 }),
            backoff_cap: Duration::from_secs(if local { 7 } else { 15 }),
            slept_ms,
            max_calls: 1_000,
        }
    }
}
