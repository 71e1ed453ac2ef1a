//! What an actor's mailbox and handler do at this moment, readable without asking the actor. The mailbox writes it,
//! `ps` and the heartbeat read it; it works while the actor is stuck, because nothing of it waits for the actor.
//! What counts as stuck, and what as too many messages, is decided here and nowhere else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A handler that takes longer than this, or a message that waits longer for one, is stuck: no handler awaits anything.
pub const STUCK: Duration = Duration::from_secs(5);
/// A mailbox with this many messages is an alarm: the credit of a session's events is 256.
pub const CROWDED: usize = 1_000;

/// Shared by an actor's address, its handler and its card.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Mutex<Moment>>);

#[derive(Debug)]
struct Moment {
    waiting: usize,
    largest: usize,
    /// What the handler works on, and since when.
    handling: Option<(&'static str, Instant)>,
    /// When a handler began or ended last, or the first of the waiting messages came.
    moved: Instant,
}

/// One look at a gauge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub waiting: usize,
    /// The most that ever waited.
    pub largest: usize,
    pub stuck: Option<Stuck>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The message (or event) that the handler does not come back from.
    pub doing: &'static str,
    pub for_ms: u64,
}

impl Default for Gauge {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Moment {
            waiting: 0,
            largest: 0,
            handling: None,
            moved: Instant::now(),
        })))
    }
}

impl Gauge {
    pub fn read(&self) -> Reading {
        let moment = self.lock();
        let (doing, since) = match moment.handling {
            Some((doing, since)) => (Some(doing), since),
            None => ((moment.waiting > 0).then_some("starting"), moment.moved),
        };
        let passed = since.elapsed();
        Reading {
            waiting: moment.waiting,
            largest: moment.largest,
            stuck: doing.filter(|_| passed >= STUCK).map(|doing| Stuck {
                doing,
                for_ms: passed.as_millis() as u64,
            }),
        }
    }

    /// A message is on its way. It counts until the ticket is dropped: handled, or lost with its mailbox.
    pub(super) fn enter(&self) -> Ticket {
        let mut moment = self.lock();
        if moment.waiting == 0 && moment.handling.is_none() {
            moment.moved = Instant::now();
        }
        moment.waiting += 1;
        moment.largest = moment.largest.max(moment.waiting);
        drop(moment);
        Ticket(self.clone())
    }

    /// The handler works on `what` until the guard is dropped, however it ends.
    pub fn begin(&self, what: &'static str) -> Handling {
        self.lock().handling = Some((what, Instant::now()));
        Handling(self.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Moment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One message in a mailbox.
#[derive(Debug)]
pub struct Ticket(pub(super) Gauge);

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut moment = self.0.lock();
        moment.waiting = moment.waiting.saturating_sub(1);
    }
}

/// A handler at work.
#[derive(Debug)]
pub struct Handling(Gauge);

impl Drop for Handling {
    fn drop(&mut self) {
        let mut moment = self.0.lock();
        moment.handling = None;
        moment.moved = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_does_not_come_back_is_stuck_and_says_what_it_does() {
        let gauge = Gauge::default();
        let handling = gauge.begin("Snapshot");
        tokio::time::advance(STUCK / 2).await;
        assert_eq!(gauge.read().stuck, None);
        tokio::time::advance(STUCK).await;
        let stuck = gauge.read().stuck.unwrap();
        assert_eq!((stuck.doing, stuck.for_ms), ("Snapshot", 7_500));
        drop(handling);
        assert_eq!(gauge.read().stuck, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_no_handler_takes_is_stuck_too_and_one_that_is_lost_is_not_counted() {
        let gauge = Gauge::default();
        let tickets: Vec<_> = (0..3).map(|_| gauge.enter()).collect();
        tokio::time::advance(STUCK).await;
        let reading = gauge.read();
        assert_eq!(
            (reading.waiting, reading.stuck.unwrap().doing),
            (3, "starting")
        );
        drop(tickets);
        let reading = gauge.read();
        assert_eq!(
            (reading.waiting, reading.largest, reading.stuck),
            (0, 3, None)
        );
    }
}
