//! One client of a deployment: the state that outlives its sockets.
//!
//! Calls and subscriptions are registered here at once and stay until they are answered, whatever happens to
//! the socket or to whoever keeps [`Connection::drive`] running. One session id and one run of request ids for
//! the whole life: a mutation that is sent again is the same request, and the deployment runs it once. The lock on
//! the `ledger` is held for single steps only, never over an await. `socket` is the life of one socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use convex::AuthenticationToken;
use convex::base_client::BaseConvexClient;
use convex_sync_types::{ClientMessage, ServerMessage, UdfPath};
use futures_util::FutureExt;
use orchestrator_actors::ports::link::{CallError, LinkPhase};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use url::Url;

use super::endpoint::sync_endpoint;
use super::ledger::{Args, Ledger};
use super::owner::OwnerAuth;
pub use super::settings::Settings;
use super::socket::{self, Closed, Fault};
use super::values::to_args;

/// How many protocol errors in a row, without a word understood between them, end the connection for good.
const FATAL_ERRORS: u32 = 5;

/// A machine that slept for this long was away: sockets of before are dead, whatever the kernel thinks.
pub(super) const SLEPT_MS: u64 = 5_000;
/// How often a pause looks for a sleep.
const LOOK: Duration = Duration::from_secs(1);

pub type Answer = Result<Value, CallError>;

/// Why [`Connection::drive`] gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveEnd {
    BadUrl(String),
    /// The identity was refused on a fresh socket.
    Unauthorized(String),
    /// The other side does not speak our protocol.
    Protocol(String),
}

impl std::fmt::Display for DriveEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadUrl(text) | Self::Unauthorized(text) | Self::Protocol(text) => {
                f.write_str(text)
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub phase: LinkPhase,
    pub last_error: Option<String>,
    /// The last attempt found nobody listening, or no such host.
    pub nobody_there: bool,
    pub attempts: u32,
}

pub struct Connection {
    endpoint: Result<Url, String>,
    pub(super) settings: Settings,
    auth: Option<Auth>,
    ledger: Mutex<Ledger>,
    /// Something is in the outgoing queue.
    pub(super) outgoing: Notify,
    /// Counts answered calls; whoever waits for progress watches it.
    progress: watch::Sender<u64>,
    standing: watch::Sender<Standing>,
    /// Microseconds + 1; 0 is unknown.
    rtt: AtomicU64,
    driving: tokio::sync::Mutex<()>,
}

/// The owner's identity, and the cell through which the base client gets the token of the present socket.
struct Auth {
    source: Arc<dyn OwnerAuth>,
    token: Arc<Mutex<Option<SecretString>>>,
}

impl Connection {
    pub fn new(
        deployment: &str,
        settings: Settings,
        auth: Option<Arc<dyn OwnerAuth>>,
    ) -> Arc<Self> {
        let mut base = BaseConvexClient::new();
        let auth = auth.map(|source| Auth {
            source,
            token: Arc::default(),
        });
        if let Some(auth) = &auth {
            let token = Arc::clone(&auth.token);
            let fetch = move |_: bool| {
                let token = lock(&token).as_ref().map(|t| t.expose_secret().to_owned());
                let token = token.map_or(AuthenticationToken::None, AuthenticationToken::User);
                async move { Ok(token) }.boxed()
            };
            // Ready at once: the token is in the cell.
            let _ = base.set_auth_fetcher(Some(Box::new(fetch))).now_or_never();
        }
        Arc::new(Self {
            endpoint: sync_endpoint(deployment),
            settings,
            auth,
            ledger: Mutex::new(Ledger::new(base)),
            outgoing: Notify::new(),
            progress: watch::Sender::new(0),
            standing: watch::Sender::default(),
            rtt: AtomicU64::new(0),
            driving: tokio::sync::Mutex::new(()),
        })
    }

    /// Registers a mutation. The answer comes when the deployment gave one, however many sockets that takes;
    /// an `Err` from here means that it was never sent.
    pub fn call(
        &self,
        function: &str,
        args: Value,
    ) -> Result<oneshot::Receiver<Answer>, CallError> {
        let (path, args) = parse(function, args)?;
        let receiver = self.ledger().call(path, args);
        self.outgoing.notify_one();
        Ok(receiver)
    }

    /// Registers a subscription. It lasts until the handle is dropped.
    pub fn watch(self: &Arc<Self>, function: &str, args: Value) -> Result<Watching, CallError> {
        let (path, args) = parse(function, args)?;
        let mut ledger = self.ledger();
        let (key, latest) = ledger.watch(path, args);
        // Another subscription may have the result already. Offline it is old: the next transition brings one.
        if self.standing.borrow().phase == LinkPhase::Synced {
            ledger.publish();
        }
        drop(ledger);
        self.outgoing.notify_one();
        Ok(Watching {
            connection: Arc::downgrade(self),
            key,
            latest,
        })
    }

    /// Keeps a socket up until dropped. A second driver waits for the first one to go.
    pub async fn drive(&self) -> DriveEnd {
        let _driving = self.driving.lock().await;
        let endpoint = match &self.endpoint {
            Ok(endpoint) => endpoint,
            Err(reason) => return DriveEnd::BadUrl(reason.clone()),
        };
        // However this ends, nobody may believe that the socket is still there.
        let _offline = OfflineOnDrop(self);
        let (mut failures, mut fatal) = (0, 0);
        loop {
            self.stand(|standing| standing.phase = LinkPhase::Connecting);
            let closed = Box::pin(socket::run(self, endpoint)).await;
            if closed.was_synced {
                (failures, fatal) = (0, 0);
            }
            match closed.fault {
                Fault::Unauthorized if !closed.was_synced => {
                    return DriveEnd::Unauthorized(closed.reason);
                }
                Fault::Protocol => fatal += 1,
                _ => {}
            }
            if fatal >= FATAL_ERRORS {
                return DriveEnd::Protocol(closed.reason);
            }
            self.note_closed(closed, failures);
            let delay = self.backoff(failures);
            failures = failures.saturating_add(1);
            self.pause(delay).await;
        }
    }

    /// Exponential, and between three quarters and the whole of it, so that a thousand supervisors do not come back at
    /// once. Not less: what a dead deployment costs stays bounded.
    fn backoff(&self, failures: u32) -> Duration {
        let first = self.settings.backoff_first;
        let full = first.saturating_mul(1 << failures.min(16));
        let spread = 0.75 + 0.25 * rand::random::<f64>();
        full.min(self.settings.backoff_cap).mul_f64(spread)
    }

    /// A machine that wakes up does not finish the pause that it slept through.
    async fn pause(&self, delay: Duration) {
        let slept = self.settings.slept_ms;
        let before = slept();
        let end = Instant::now() + delay;
        while Instant::now() < end && slept() < before + SLEPT_MS {
            tokio::time::sleep_until(end.min(Instant::now() + LOOK)).await;
        }
    }

    fn note_closed(&self, closed: Closed, failures: u32) {
        if failures == 0 {
            tracing::warn!(reason = %closed.reason, "deployment is away");
        }
        self.ledger().end_socket(&closed.reason);
        self.stand(|standing| {
            standing.phase = LinkPhase::Offline;
            standing.nobody_there = closed.fault == Fault::NobodyThere;
            standing.last_error = Some(closed.reason);
            standing.attempts = failures + 1;
        });
    }

    fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }

    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub fn rtt_us(&self) -> Option<u64> {
        self.rtt.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Calls that wait for their answer, and the request id that the next one gets.
    pub fn waiting(&self) -> (usize, u32) {
        let ledger = self.ledger();
        (ledger.waiting(), ledger.next_request())
    }

    /// Whether all calls before this request id are answered.
    pub fn has_answered_before(&self, request: u32) -> bool {
        self.ledger().has_answered_before(request)
    }

    /// Whether one more call may wait.
    pub fn has_room(&self) -> bool {
        self.ledger().waiting() < self.settings.max_calls
    }

    pub(super) fn begin_socket(&self, now_ms: u64) -> Result<ClientMessage, String> {
        if let Some(auth) = &self.auth {
            let token = auth.source.jwt().map_err(|failure| failure.0)?;
            *lock(&auth.token) = Some(token);
        }
        self.ledger().begin_socket(now_ms)
    }

    pub(super) fn next_outgoing(&self) -> Option<ClientMessage> {
        self.ledger().next_outgoing()
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.ledger().stalled_since()
    }

    /// Takes one message of the server. `Err` drops the socket. Returns whether it was a transition.
    pub(super) fn receive(&self, message: ServerMessage<convex::Value>) -> Result<bool, String> {
        let received = self.ledger().receive(message)?;
        if let Some(took) = received.took {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.rtt.store(us.saturating_add(1), Ordering::Relaxed);
        }
        if received.settled > 0 {
            self.progress
                .send_modify(|count| *count += received.settled);
        }
        if received.was_transition && self.standing.borrow().phase != LinkPhase::Synced {
            tracing::info!("deployment is reached");
            self.stand(|standing| {
                *standing = Standing {
                    phase: LinkPhase::Synced,
                    ..Standing::default()
                };
            });
        }
        Ok(received.was_transition)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

/// A subscription; dropping it unsubscribes.
pub struct Watching {
    connection: Weak<Connection>,
    key: u64,
    /// The latest result; `None` until there is one. Ends when the connection is dropped.
    pub latest: watch::Receiver<Option<Answer>>,
}

impl Watching {
    /// The next result that was not seen yet. `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Answer> {
        loop {
            self.latest.changed().await.ok()?;
            if let Some(answer) = self.latest.borrow_and_update().clone() {
                return Some(answer);
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else {
            return;
        };
        connection.ledger().unwatch(self.key);
        connection.outgoing.notify_one();
    }
}

struct OfflineOnDrop<'a>(&'a Connection);

impl Drop for OfflineOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stand(|standing| standing.phase = LinkPhase::Offline);
    }
}

fn parse(function: &str, args: Value) -> Result<(UdfPath, Args), CallError> {
    let path = function
        .parse()
        .map_err(|error| CallError::Server(format!("`{function}` names no function: {error}")))?;
    let args = to_args(args)
        .ok_or_else(|| CallError::Server(format!("the arguments of `{function}` are no object")))?;
    Ok((path, args))
}

/// A panic while a lock was held leaves a state that the next socket rebuilds: go on with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
