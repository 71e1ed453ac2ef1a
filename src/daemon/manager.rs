//! What the service manager that started us (systemd's `Type=notify`) is told: ready, reloading, stopping, how we stand, and
//! that we are alive. Without one (`NOTIFY_SOCKET` is not set) all of it is nothing.
//!
//! The watchdog hangs on the tree's pulse and on no timer of ours: a root that is stuck or gone has none, and the manager then
//! starts us again. Nothing here waits for anybody.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::running::{Running, Shared};
use crate::control::Tally;

/// Workers serve, wait or have said why not.
pub(super) fn ready(running: &Running) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(running))]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Reloading until it is dropped. Whoever asked for it by a signal waits for both words, whatever comes of it.
pub(super) struct Reloading<'r>(&'r Running);

impl<'r> Reloading<'r> {
    pub fn begin(running: &'r Running) -> Self {
        // Without the time a manager that waits for this very reload would not know that it is the one.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
        Self(running)
    }
}

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        ready(self.0);
    }
}

/// Tells that the tree is alive, and how it stands when that has changed, until it is dropped.
pub(super) struct Feeding {
    _task: Option<AbortOnDropHandle<()>>,
}

impl Feeding {
    pub fn start(running: &Shared) -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { _task: None };
        }
        let task = tokio::spawn(feed(Shared::clone(running), watchdog()));
        Self {
            _task: Some(AbortOnDropHandle::new(task)),
        }
    }
}

async fn feed(running: Shared, watchdog: Option<Duration>) {
    let mut pulse = running.tree.handle.table().pulse();
    let mut told = status(&running);
    let mut fed: Option<Instant> = None;
    while pulse.changed().await.is_ok() {
        if let Some(within) = watchdog
            && fed.is_none_or(|at| at.elapsed() >= within / 4)
        {
            tell(&[NotifyState::Watchdog]);
            fed = Some(Instant::now());
        }
        let now = status(&running);
        if now != told {
            tell(&[NotifyState::Status(&now)]);
            told = now;
        }
    }
}

/// How long the manager waits for a sign of life, when it waits for one from us.
fn watchdog() -> Option<Duration> {
    let mut micros = 0;
    sd_notify::watchdog_enabled(false, &mut micros).then(|| Duration::from_micros(micros))
}

/// `serving: 2 workers, 1 ready; 3 sessions, 1 active; outbox 0`: as `orchestrator status` has it.
fn status(running: &Running) -> String {
    let report = running.report();
    let trouble = report
        .trouble()
        .map_or_else(String::new, |t| format!("; {t}"));
    let text = format!("serving: {}{trouble}", Tally::of(&report));
    // One line, or it would be read as another word.
    text.replace('\n', " ")
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, words) {
        debug!(%error, "the service manager cannot be told");
    }
}
