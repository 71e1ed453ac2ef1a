//! Times that travel inside the deltas: `@<nanoseconds>;` of the monotonic clock, which all processes of a machine
//! share. So a delta says itself when it was written, however it is merged with others on its way.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock.
pub fn now_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Nanoseconds of processor time that this thread has used.
pub fn processor_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A delta of about the size of a few tokens.
pub fn stamped() -> String {
    format!("@{};", now_ns())
}

/// The stamps in a piece of text.
pub fn stamps_in(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.split('@')
        .filter_map(|piece| piece.split_once(';')?.0.parse().ok())
}
