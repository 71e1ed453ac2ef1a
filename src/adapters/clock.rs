//! The machine's clocks behind the [`Clock`] port. Each rule of the product names the one it means; this
//! file only says which system clock that is.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestrator_actors::ports::clock::Clock;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        milliseconds(clock_gettime(ClockId::Monotonic))
    }

    fn boottime_ms(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let id = ClockId::Boottime;
        // macOS: the monotonic clock runs on during sleep there.
        #[cfg(not(target_os = "linux"))]
        let id = ClockId::Monotonic;
        milliseconds(clock_gettime(id))
    }

    fn wall_ms(&self) -> u64 {
        wall_ms()
    }
}

/// Milliseconds since the Unix epoch. Through the standard library and so through the C library: what fakes the
/// machine's wall clock for a test fakes it there.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// How long the machine has slept since it was started. Grows when it wakes up, never else.
pub fn slept_ms() -> u64 {
    let clock = SystemClock;
    // In this order a false answer is too small.
    let boottime = clock.boottime_ms();
    boottime.saturating_sub(clock.monotonic_ms())
}

fn milliseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanoseconds / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_forward_and_boottime_is_not_behind_monotonic() {
        let clock = SystemClock;
        let earlier = clock.monotonic_ms();
        assert!(clock.monotonic_ms() >= earlier);
        assert!(clock.boottime_ms() + 1 >= earlier);
        // 2020-01-01: a wall clock that was never set would be far below.
        assert!(clock.wall_ms() > 1_577_836_800_000);
    }
}
