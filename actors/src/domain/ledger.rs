//! Restart intensity, as a pure ledger: it has no clock, no actor and no randomness of its own.

/// How many crashes within which time are too many, and how restarts are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// This many crashes within `window_ms` park the child. `None`: it is never parked.
    pub limit: Option<u32>,
    pub window_ms: u64,
    /// Backoff before the second restart; it doubles up to `max_ms`.
    pub base_ms: u64,
    pub max_ms: u64,
    /// A child that lived this long without a crash starts afresh.
    pub healthy_ms: u64,
}

impl Intensity {
    pub const SESSION: Self = Self {
        limit: Some(5),
        window_ms: 60_000,
        base_ms: 250,
        max_ms: 30_000,
        healthy_ms: 60_000,
    };
    pub const WORKER: Self = Self {
        limit: Some(5),
        window_ms: 300_000,
        base_ms: 250,
        max_ms: 30_000,
        healthy_ms: 60_000,
    };
    pub const BRIDGE: Self = Self {
        limit: None,
        window_ms: 0,
        base_ms: 250,
        max_ms: 60_000,
        healthy_ms: 60_000,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Restart { after_ms: u64 },
    Park,
}

/// The crashes of one child.
#[derive(Clone, Debug)]
pub struct RestartLedger {
    intensity: Intensity,
    recent: Vec<u64>,
    /// Crashes since the child was last healthy.
    streak: u32,
    total: u32,
    parked: bool,
}

impl RestartLedger {
    pub fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            recent: Vec::new(),
            streak: 0,
            total: 0,
            parked: false,
        }
    }

    /// A crash at `now_ms` (monotonic). `jitter` in 0..=1 spreads the backoff by ±20 %.
    pub fn on_crash(&mut self, now_ms: u64, jitter: f64) -> Verdict {
        let healthy_since = self.recent.last().map(|last| now_ms.saturating_sub(*last));
        if healthy_since.is_some_and(|quiet| quiet >= self.intensity.healthy_ms) {
            self.streak = 0;
        }
        self.recent
            .retain(|at| now_ms.saturating_sub(*at) < self.intensity.window_ms.max(1));
        self.recent.push(now_ms);
        self.streak += 1;
        self.total += 1;
        if self
            .intensity
            .limit
            .is_some_and(|limit| self.recent.len() as u32 >= limit)
        {
            self.parked = true;
            return Verdict::Park;
        }
        Verdict::Restart {
            after_ms: self.backoff(jitter),
        }
    }

    fn backoff(&self, jitter: f64) -> u64 {
        if self.streak <= 1 {
            return 0;
        }
        let doublings = (self.streak - 2).min(20);
        let plain = self
            .intensity
            .base_ms
            .saturating_mul(1 << doublings)
            .min(self.intensity.max_ms);
        (plain as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))) as u64
    }

    /// A person gave the child another chance.
    pub fn forgive(&mut self) {
        self.recent.clear();
        self.streak = 0;
        self.parked = false;
    }

    pub fn is_parked(&self) -> bool {
        self.parked
    }

    /// Crashes in all, for `ps`.
    pub fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_double() {
        let mut ledger = RestartLedger::new(Intensity {
            limit: None,
            ..Intensity::SESSION
        });
        let waits: Vec<_> = (0..6)
            .map(|i| match ledger.on_crash(i * 1_000, 0.5) {
                Verdict::Restart { after_ms } => after_ms,
                Verdict::Park => unreachable!(),
            })
            .collect();
        assert_eq!(waits, [0, 250, 500, 1_000, 2_000, 4_000]);
    }

    #[test]
    fn the_fifth_crash_in_a_minute_parks_and_forgiving_unparks() {
        let mut ledger = RestartLedger::new(Intensity::SESSION);
        for i in 0..4 {
            assert!(matches!(
                ledger.on_crash(i * 100, 0.0),
                Verdict::Restart { .. }
            ));
        }
        assert_eq!(ledger.on_crash(500, 0.0), Verdict::Park);
        assert!(ledger.is_parked());
        ledger.forgive();
        assert_eq!(ledger.on_crash(600, 0.0), Verdict::Restart { after_ms: 0 });
    }

    #[test]
    fn a_healthy_minute_makes_the_next_restart_immediate_again() {
        let mut ledger = RestartLedger::new(Intensity::SESSION);
        ledger.on_crash(0, 0.5);
        ledger.on_crash(10, 0.5);
        assert_eq!(
            ledger.on_crash(70_000, 0.5),
            Verdict::Restart { after_ms: 0 }
        );
    }

    proptest! {
        #[test]
        fn it_parks_exactly_when_the_window_holds_the_limit(gaps in prop::collection::vec(0u64..40_000, 1..40)) {
            let mut ledger = RestartLedger::new(Intensity::SESSION);
            let mut crashes: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                crashes.push(now);
                let inside = crashes.iter().filter(|at| now - **at < 60_000).count();
                let verdict = ledger.on_crash(now, 0.5);
                prop_assert_eq!(verdict == Verdict::Park, inside >= 5);
                if let Verdict::Restart { after_ms } = verdict {
                    prop_assert!(after_ms <= 36_000);
                }
            }
            prop_assert_eq!(ledger.total() as usize, crashes.len());
        }
    }
}
