//! How long a function's own JavaScript may run. QuickJS asks now and then whether to go on; time spent in host
//! operations does not count.

use std::cell::Cell;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Timer {
    deadline: Cell<Option<Instant>>,
    fired: Cell<bool>,
}

impl Timer {
    pub fn start(&self, limit: Duration) {
        self.deadline.set(Some(Instant::now() + limit));
        self.fired.set(false);
    }

    /// Time that the function has not used itself.
    pub fn exclude(&self, time: Duration) {
        if let Some(deadline) = self.deadline.get() {
            self.deadline.set(Some(deadline + time));
        }
    }

    /// For QuickJS's interrupt handler: `true` ends the script.
    pub fn interrupt(&self) -> bool {
        let late = self
            .deadline
            .get()
            .is_some_and(|deadline| Instant::now() >= deadline);
        if late {
            self.fired.set(true);
        }
        late
    }

    pub fn fired(&self) -> bool {
        self.fired.get()
    }
}
