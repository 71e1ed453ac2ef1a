//! One client of a deployment: the state that outlives its sockets.
//!
//! Calls and subscriptions are registered here at once and stay until they are answered, whatever happens to
//! the socket or to whoever keeps [`Connection::drive`] running. One session id and one run of request ids for
//! the whole life: a mutation that is sent again is the same request, and the deployment runs it once. The lock
//! is held for single steps of the state machine only, never over an await. `socket` is one connection's life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use convex::base_client::BaseConvexClient;
use convex::{AuthenticationToken, FunctionResult, SubscriberId};
use convex_sync_types::{ClientMessage, ServerMessage, SessionId, UdfPath};
use futures_util::FutureExt;
use orchestrator_actors::ports::link::{CallError, LinkPhase};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::endpoint::{is_local, sync_endpoint};
use super::owner::OwnerAuth;
use super::socket::{self, Closed, Fault};
use super::values::{to_args, to_json};

/// What the base client calls an answer to a request it has forgotten. Harmless: the request was answered
/// before the reconnect. Matched literally, which is why the crate's version is pinned.
pub(super) const FORGOTTEN_REQUEST: &str = "Invalid request id from server";

/// How many protocol errors in a row, without a word understood between them, end the connection for good.
const FATAL_ERRORS: u32 = 5;

pub type Answer = Result<Value, CallError>;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Least time between two appends; 0 sends as soon as the last one is answered.
    pub append_spacing: Duration,
    /// A call without an answer for this long drops the socket and is sent again.
    pub call_timeout: Duration,
    /// Silence of the server (which pings) for this long drops the socket.
    pub read_timeout: Duration,
    pub connect_timeout: Duration,
    pub backoff_first: Duration,
    pub backoff_cap: Duration,
    /// Calls that may wait for an answer. One more is refused at once, without being sent.
    pub max_calls: usize,
}

impl Settings {
    /// On this machine calls cost nothing and the server is back in a moment; elsewhere both cost.
    pub fn suited_to(deployment: &str) -> Self {
        let local = sync_endpoint(deployment).is_ok_and(|endpoint| is_local(&endpoint));
        Self {
            append_spacing: Duration::from_millis(if local { 0 } else { 100 }),
            call_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            backoff_first: Duration::from_millis(if local { 20 } else { 100 }),
            backoff_cap: Duration::from_secs(if local { 1 } else { 15 }),
            max_calls: 1_000,
        }
    }
}

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
    session: SessionId,
    auth: Option<Auth>,
    state: Mutex<State>,
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

struct State {
    base: BaseConvexClient,
    /// By request id. The base client counts them from 0; so do we, under the same lock.
    calls: BTreeMap<u32, Call>,
    next_request: u32,
    /// Answered, but perhaps not past the transition that makes the answer final.
    answered: Vec<u32>,
    last_answer: Instant,
    watches: BTreeMap<u64, Watch>,
    next_watch: u64,
    sockets: u32,
    close_reason: String,
}

struct Call {
    answer: oneshot::Receiver<FunctionResult>,
    reply: oneshot::Sender<Answer>,
    /// When it was given to the present socket.
    since: Instant,
}

struct Watch {
    subscriber: SubscriberId,
    delivered: Option<FunctionResult>,
    to: watch::Sender<Option<Answer>>,
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
            session: SessionId::new(Uuid::new_v4()),
            auth,
            state: Mutex::new(State {
                base,
                calls: BTreeMap::new(),
                next_request: 0,
                answered: Vec::new(),
                last_answer: Instant::now(),
                watches: BTreeMap::new(),
                next_watch: 0,
                sockets: 0,
                close_reason: "InitialConnect".to_owned(),
            }),
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
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state();
        let request = state.next_request;
        state.next_request += 1;
        let call = Call {
            answer: state.base.mutation(path, args),
            reply,
            since: Instant::now(),
        };
        state.calls.insert(request, call);
        drop(state);
        self.outgoing.notify_one();
        Ok(receiver)
    }

    /// Registers a subscription. It lasts until the handle is dropped.
    pub fn watch(self: &Arc<Self>, function: &str, args: Value) -> Result<Watching, CallError> {
        let (path, args) = parse(function, args)?;
        let (to, latest) = watch::channel(None);
        let mut state = self.state();
        let key = state.next_watch;
        state.next_watch += 1;
        let subscriber = state.base.subscribe(path, args);
        let watch = Watch {
            subscriber,
            delivered: None,
            to,
        };
        state.watches.insert(key, watch);
        // Another subscription may have the result already. Offline it is old: the next transition brings one.
        if self.standing.borrow().phase == LinkPhase::Synced {
            state.publish();
        }
        drop(state);
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
            tokio::time::sleep(delay).await;
        }
    }

    /// Exponential with full jitter, so that a thousand supervisors do not come back at once.
    fn backoff(&self, failures: u32) -> Duration {
        let first = self.settings.backoff_first;
        let full = first.saturating_mul(1 << failures.min(16));
        full.min(self.settings.backoff_cap)
            .mul_f64(rand::random::<f64>())
    }

    fn note_closed(&self, closed: Closed, failures: u32) {
        if failures == 0 {
            tracing::warn!(reason = %closed.reason, "deployment is away");
        }
        self.state().close_reason.clone_from(&closed.reason);
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
        let state = self.state();
        (state.calls.len(), state.next_request)
    }

    /// Whether all calls before this request id are answered.
    pub fn has_answered_before(&self, request: u32) -> bool {
        self.state()
            .calls
            .first_key_value()
            .is_none_or(|(first, _)| *first >= request)
    }

    /// Whether one more call may wait.
    pub fn has_room(&self) -> bool {
        self.state().calls.len() < self.settings.max_calls
    }

    /// Begins a socket: the `Connect` that goes first. Everything unanswered is queued behind it.
    pub(super) fn begin_socket(&self, now_ms: u64) -> Result<ClientMessage, String> {
        if let Some(auth) = &self.auth {
            let token = auth.source.jwt().map_err(|failure| failure.0)?;
            *lock(&auth.token) = Some(token);
        }
        let mut state = self.state();
        let connect = ClientMessage::Connect {
            session_id: self.session,
            connection_count: state.sockets,
            last_close_reason: state.close_reason.clone(),
            max_observed_timestamp: state.base.max_observed_timestamp(),
            client_ts: Some(now_ms),
        };
        state.sockets += 1;
        // Ready at once: it awaits nothing but the token above.
        let resent = state.base.resend_ongoing_queries_mutations().now_or_never();
        if resent.is_none() {
            return Err("the identity was not ready".to_owned());
        }
        let now = Instant::now();
        state.last_answer = now;
        for call in state.calls.values_mut() {
            call.since = now;
        }
        Ok(connect)
    }

    pub(super) fn next_outgoing(&self) -> Option<ClientMessage> {
        self.state().base.pop_next_message()
    }

    /// Takes one message of the server. `Err` drops the socket. Returns whether it was a transition.
    pub(super) fn receive(&self, message: ServerMessage<convex::Value>) -> Result<bool, String> {
        let is_transition = matches!(message, ServerMessage::Transition { .. });
        let request = match &message {
            ServerMessage::MutationResponse { request_id, .. } => Some(*request_id),
            _ => None,
        };
        let mut state = self.state();
        match state.base.receive_message(message) {
            Ok(_) => {}
            Err(reason) if reason == FORGOTTEN_REQUEST => {
                tracing::debug!(?request, "answer to a request that is answered already");
            }
            Err(reason) => return Err(reason),
        }
        if let Some(request) = request {
            state.last_answer = Instant::now();
            state.answered.push(request);
        }
        let settled = state.settle(|took| self.note_rtt(took));
        if is_transition {
            state.publish();
        }
        drop(state);
        if settled > 0 {
            self.progress.send_modify(|count| *count += settled);
        }
        if is_transition && self.standing.borrow().phase != LinkPhase::Synced {
            tracing::info!("deployment is reached");
            self.stand(|standing| {
                *standing = Standing {
                    phase: LinkPhase::Synced,
                    ..Standing::default()
                }
            });
        }
        Ok(is_transition)
    }

    fn note_rtt(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX - 1);
        self.rtt.store(us.saturating_add(1), Ordering::Relaxed);
    }

    /// Since when the oldest call waits without any call being answered: mutations of a socket run one by one.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let state = self.state();
        let oldest = state.calls.values().map(|call| call.since).min()?;
        Some(oldest.max(state.last_answer))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Hands out the answers that are final. Returns how many.
    fn settle(&mut self, note_rtt: impl Fn(Duration)) -> u64 {
        let mut settled = 0;
        let mut answered = std::mem::take(&mut self.answered);
        answered.retain(|request| {
            let Some(call) = self.calls.get_mut(request) else {
                return false;
            };
            let result = match call.answer.try_recv() {
                Ok(result) => answer(&result),
                Err(oneshot::error::TryRecvError::Empty) => return true,
                Err(oneshot::error::TryRecvError::Closed) => Err(CallError::Closed),
            };
            if let Some(call) = self.calls.remove(request) {
                note_rtt(call.since.elapsed());
                settled += 1;
                // Nobody has to wait for it any more: the mutation ran all the same.
                let _ = call.reply.send(result);
            }
            false
        });
        self.answered = answered;
        settled
    }

    /// Hands out results that changed.
    fn publish(&mut self) {
        let results = self.base.latest_results();
        for watch in self.watches.values_mut() {
            let Some(result) = results.get(&watch.subscriber) else {
                continue;
            };
            if watch.delivered.as_ref() != Some(result) {
                watch.delivered = Some(result.clone());
                watch.to.send_replace(Some(answer(result)));
            }
        }
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
        let mut state = connection.state();
        if let Some(watch) = state.watches.remove(&self.key) {
            state.base.unsubscribe(watch.subscriber);
        }
        drop(state);
        connection.outgoing.notify_one();
    }
}

struct OfflineOnDrop<'a>(&'a Connection);

impl Drop for OfflineOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stand(|standing| standing.phase = LinkPhase::Offline);
    }
}

fn parse(
    function: &str,
    args: Value,
) -> Result<(UdfPath, BTreeMap<String, convex::Value>), CallError> {
    let path = function
        .parse()
        .map_err(|error| CallError::Server(format!("`{function}` names no function: {error}")))?;
    let args = to_args(args)
        .ok_or_else(|| CallError::Server(format!("the arguments of `{function}` are no object")))?;
    Ok((path, args))
}

/// A `ConvexError({code, message})` is what our functions say on purpose; everything else is trouble.
fn answer(result: &FunctionResult) -> Answer {
    match result {
        FunctionResult::Value(value) => Ok(to_json(value)),
        FunctionResult::ErrorMessage(message) => Err(CallError::Server(message.clone())),
        FunctionResult::ConvexError(error) => {
            let data = to_json(&error.data);
            let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
            Err(match (text("code"), text("message")) {
                (Some(code), Some(message)) => CallError::Refused { code, message },
                _ => CallError::Server(error.message.clone()),
            })
        }
    }
}

/// A panic while a lock was held leaves a state that the next socket rebuilds: go on with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
