//! A link that looks on: it hands everything to the real one and notes when deltas came to it and when the deployment had
//! acknowledged them. Armed, it panics inside the session's handler instead of taking the next items.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::Draft;
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::machine::Links;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::link::{
    CallError, Credential, Finished, Link, LinkDown, LinkStatus, StreamError,
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::common::stamps::{now_ns, stamps_in};
use crate::common::table::Times;

/// An acknowledgement takes no longer.
const ACKNOWLEDGED_MS: u64 = 60_000;

pub struct Probe {
    link: Arc<dyn Link>,
    noting: AtomicBool,
    armed: AtomicBool,
    panicked_at: AtomicU64,
    seen: Arc<Mutex<Seen>>,
}

/// From a delta's stamp to …
pub struct Seen {
    /// … the link, after the adapter and the session's actor.
    pub pushed: Times,
    /// … the acknowledgement of its append: the row is committed.
    pub committed: Times,
}

impl Probe {
    pub fn new(link: Arc<dyn Link>) -> Arc<Self> {
        let seen = Seen {
            pushed: Times::new(),
            committed: Times::new(),
        };
        Arc::new(Self {
            link,
            noting: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            panicked_at: AtomicU64::new(0),
            seen: Arc::new(Mutex::new(seen)),
        })
    }

    /// Notes times from now on. It costs a task for each push.
    pub fn note(&self) {
        self.noting.store(true, Ordering::Relaxed);
    }

    pub fn seen<R>(&self, look: impl FnOnce(&Seen) -> R) -> R {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next push panics.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// When it did, on the monotonic clock.
    pub fn panicked_at_ns(&self) -> u64 {
        self.panicked_at.load(Ordering::SeqCst)
    }

    fn note_push(&self, stamps: Vec<u64>) {
        let now = now_ns();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for stamp in &stamps {
                seen.pushed.add_ns(now - stamp);
            }
        }
        let acknowledged = self.link.flush(ACKNOWLEDGED_MS);
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            if acknowledged.await {
                let now = now_ns();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for stamp in stamps {
                    seen.committed.add_ns(now - stamp);
                }
            }
        });
    }
}

impl Link for Probe {
    fn mutate(&self, function: &'static str, args: Value) -> Pending<Result<Value, CallError>> {
        self.link.mutate(function, args)
    }

    fn watch(
        &self,
        function: &'static str,
        args: Value,
        to: mpsc::Sender<Result<Value, CallError>>,
    ) {
        self.link.watch(function, args, to);
    }

    fn open_stream(&self, turn: TurnId, credential: Credential, next_index: u64) {
        self.link.open_stream(turn, credential, next_index);
    }

    fn recover(&self, turn: TurnId, drafts: Vec<Draft>) -> Pending<Result<(), StreamError>> {
        self.link.recover(turn, drafts)
    }

    fn push(&self, turn: &TurnId, drafts: Vec<Draft>) -> Result<(), StreamError> {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.panicked_at.store(now_ns(), Ordering::SeqCst);
            panic!("asked for by the restart table");
        }
        if !self.noting.load(Ordering::Relaxed) {
            return self.link.push(turn, drafts);
        }
        let stamps = drafts
            .iter()
            .flat_map(|draft| stamps_in(&draft.content))
            .collect();
        let pushed = self.link.push(turn, drafts);
        self.note_push(stamps);
        pushed
    }

    fn finish(
        &self,
        turn: TurnId,
        credential: Credential,
        ending: Ending,
    ) -> Pending<Result<Finished, CallError>> {
        self.link.finish(turn, credential, ending)
    }

    fn replay(&self, credential: Credential) -> Pending<Result<usize, CallError>> {
        self.link.replay(credential)
    }

    fn drive(&self) -> Pending<LinkDown> {
        self.link.drive()
    }

    fn status(&self) -> LinkStatus {
        self.link.status()
    }

    fn flush(&self, within_ms: u64) -> Pending<bool> {
        self.link.flush(within_ms)
    }
}

/// Gives the one probe, whatever deployment is asked for: there is one.
pub struct OneLink(pub Arc<Probe>);

impl Links for OneLink {
    fn link(&self, _: &DeploymentUrl) -> Arc<dyn Link> {
        Arc::clone(&self.0) as _
    }
}
