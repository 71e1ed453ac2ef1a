//! What every request and socket of one deployment shares. Nothing in it changes after the start but counters.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine_thread::EngineHandle;
use super::http::BodyRoom;
use super::identity::Verifier;
use super::site::Site;
use super::subscriptions::ConnectionId;
use super::tuning::Tuning;

/// What `/instance_name` and `/version` say.
#[derive(Clone, Debug)]
pub struct Instance {
    pub name: String,
    pub version: String,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            name: "local".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

pub(super) struct App {
    pub(super) engine: EngineHandle,
    pub(super) verifier: Verifier,
    pub(super) instance: Instance,
    pub(super) site: Site,
    pub(super) tuning: Tuning,
    pub(super) http_calls: Semaphore,
    pub(super) http_bodies: BodyRoom,
    /// Open sockets, so that a stop can wait for their goodbyes.
    pub(super) sockets: TaskTracker,
    pub(super) stop: CancellationToken,
    next_connection: AtomicU64,
}

impl App {
    pub(super) fn new(
        engine: EngineHandle,
        verifier: Verifier,
        instance: Instance,
        site: Site,
        tuning: Tuning,
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine,
            verifier,
            instance,
            site,
            http_calls: Semaphore::new(tuning.http_calls),
            http_bodies: BodyRoom::new(tuning.http_bodies),
            tuning,
            sockets: TaskTracker::new(),
            stop,
            next_connection: AtomicU64::new(0),
        }
    }

    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }
}
