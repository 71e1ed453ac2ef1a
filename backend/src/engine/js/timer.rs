//! How much processor time a function's own JavaScript may use. QuickJS asks now and then whether to go on; time spent
//! in host operations does not count, nor does time in which the machine did something else or slept.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[derive(Default)]
pub struct Timer {
    /// On the thread's processor clock.
    deadline: Cell<Option<Duration>>,
    fired: Cell<bool>,
}

impl Timer {
    pub fn start(&self, limit: Duration) {
        self.deadline.set(Some(used() + limit));
        self.fired.set(false);
    }

    /// Runs something whose time is not the function's.
    pub fn excluding<R>(&self, operation: impl FnOnce() -> R) -> R {
        let before = used();
        let result = operation();
        if let Some(deadline) = self.deadline.get() {
            self.deadline
                .set(Some(deadline + used().saturating_sub(before)));
        }
        result
    }

    /// For QuickJS's interrupt handler: `true` ends the script.
    pub fn interrupt(&self) -> bool {
        let late = self
            .deadline
            .get()
            .is_some_and(|deadline| used() >= deadline);
        if late {
            self.fired.set(true);
        }
        late
    }

    pub fn fired(&self) -> bool {
        self.fired.get()
    }
}

/// Processor time that this thread has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
