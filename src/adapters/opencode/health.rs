//! Whether a running OpenCode still lives. Its event stream says so by itself, by a heartbeat every 10 s; only when that is
//! silent `/global/health` is asked, and only after several questions without an answer and without a byte on the stream the
//! child is held for hung. A flood of events or a loaded machine makes it slow, never silent for so long.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};

use super::Deadlines;
use super::api::{Api, ApiError};

/// Questions in a row that stay without an answer.
const MISSES: u32 = 3;

/// Between two questions when the first one fails at once.
const AGAIN: Duration = Duration::from_secs(1);

/// When the last sign of life came. Cheap to clone; the stream's reader keeps it fresh.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub fn felt(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when OpenCode hangs, with the reason for people.
pub async fn hangs(api: Api, pulse: Pulse, deadlines: Deadlines) -> String {
    let mut misses = 0;
    loop {
        let last = pulse.last();
        if last.elapsed() < deadlines.probe {
            misses = 0;
            tokio::time::sleep_until(last + deadlines.probe).await;
            continue;
        }
        let asked = Instant::now();
        match api.health(deadlines.probe_answer).await {
            Err(ApiError::Transport(_)) => misses += 1,
            // Any answer is a sign of life, a wrong one too.
            _ => pulse.felt(),
        }
        if pulse.last() >= asked {
            continue;
        }
        if misses >= MISSES {
            return format!(
                "it did not answer for {} s, neither its event stream nor {MISSES} questions for its health",
                pulse.last().elapsed().as_secs()
            );
        }
        tokio::time::sleep_until(asked + AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    const PROBE: Duration = Duration::from_millis(200);

    fn deadlines() -> Deadlines {
        Deadlines {
            probe: PROBE,
            probe_answer: Duration::from_millis(50),
            ..Deadlines::default()
        }
    }

    /// Nothing listens there: every question is a miss.
    fn nowhere() -> Api {
        let password = SecretString::from("p".to_owned());
        Api::new("http://127.0.0.1:1", "/w", password).unwrap()
    }

    #[tokio::test]
    async fn a_stream_that_speaks_is_a_sign_of_life() {
        let pulse = Pulse::new();
        let mut hangs = Box::pin(hangs(nowhere(), pulse.clone(), deadlines()));
        let begun = Instant::now();
        // Longer than silence would be taken for a hang.
        while begun.elapsed() < PROBE + AGAIN * (MISSES + 1) {
            assert!(tokio::time::timeout(PROBE / 2, &mut hangs).await.is_err());
            pulse.felt();
        }
    }

    #[tokio::test]
    async fn silence_on_both_is_a_hang_after_some_questions() {
        let begun = Instant::now();
        let reason = hangs(nowhere(), Pulse::new(), deadlines()).await;
        assert!(reason.contains("did not answer for"), "{reason}");
        let took = begun.elapsed();
        assert!(took >= PROBE + AGAIN * (MISSES - 1), "{took:?}");
    }
}
