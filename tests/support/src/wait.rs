//! Waiting on conditions.

use std::time::{Duration, Instant};

/// The longest any condition may take on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Polls until `probe` gives a value; panics with `what` after the deadline.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Polls until `holds`; panics with `what` after the deadline.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}
