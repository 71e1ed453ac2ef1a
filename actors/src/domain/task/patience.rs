//! How often something is tried again, and how long is waited in between: so many times, each pause twice the one
//! before, up to a limit. No clock and no randomness in here. A count of 0 means that it is tried once.

use std::time::Duration;

/// Settings of one kind of retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Further tries after the first one.
    pub retries: u32,
    /// Before the first further try.
    pub first: Duration,
    pub longest: Duration,
}

impl Patience {
    /// Of git over a network, and of a repository that another git has locked.
    pub const GIT: Self = Self {
        retries: 3,
        first: Duration::from_millis(100),
        longest: Duration::from_secs(10),
    };

    /// Of an assistant's run: it has tried several times itself before it gave up.
    pub const RUN: Self = Self {
        retries: 1,
        first: Duration::from_secs(5),
        longest: Duration::from_mins(2),
    };

    /// Tries once.
    pub const NONE: Self = Self {
        retries: 0,
        first: Duration::ZERO,
        longest: Duration::ZERO,
    };

    /// The pause before the next try when `tried` have failed; `None` when it is enough.
    pub fn pause(&self, tried: u32) -> Option<Duration> {
        if tried == 0 || tried > self.retries {
            return None;
        }
        let factor = 1_u32.checked_shl(tried - 1).unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let pauses: Vec<_> = (1..=4).map(|tried| Patience::GIT.pause(tried)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(100), ms(200), ms(400), None]);
        assert_eq!(Patience::NONE.pause(1), None);
        let stubborn = Patience {
            retries: u32::MAX,
            ..Patience::GIT
        };
        assert_eq!(stubborn.pause(4_000_000), Some(stubborn.longest));
    }
}
