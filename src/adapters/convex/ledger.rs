//! What a connection remembers over its sockets: calls without an answer, subscriptions, and Convex's own state
//! machine, which turns both into messages. Purely a step at a time; `Connection` holds the lock and the socket.

use std::collections::BTreeMap;
use std::time::Duration;

use convex::base_client::BaseConvexClient;
use convex::{FunctionResult, SubscriberId};
use convex_sync_types::{ClientMessage, ServerMessage, SessionId, UdfPath};
use futures_util::FutureExt;
use orchestrator_actors::domain::token::without_secrets;
use orchestrator_actors::ports::link::CallError;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::Answer;
use super::values::to_json;

/// What the base client calls an answer to a request it has forgotten. Harmless: the request was answered
/// before the reconnect. Matched literally, which is why the crate's version is pinned.
pub const FORGOTTEN_REQUEST: &str = "Invalid request id from server";

pub type Args = BTreeMap<String, convex::Value>;

pub struct Ledger {
    base: BaseConvexClient,
    /// One for the client's whole life: with it the deployment knows a request that is sent again.
    session: SessionId,
    /// By request id. The base client counts them from 0; so do we, in the same step.
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

/// What a message of the server did.
#[derive(Debug, Default)]
pub struct Received {
    pub was_transition: bool,
    /// Calls that have their final answer now.
    pub settled: u64,
    /// How long the last one of them took.
    pub took: Option<Duration>,
}

impl Ledger {
    pub fn new(base: BaseConvexClient) -> Self {
        Self {
            base,
            session: SessionId::new(Uuid::new_v4()),
            calls: BTreeMap::new(),
            next_request: 0,
            answered: Vec::new(),
            last_answer: Instant::now(),
            watches: BTreeMap::new(),
            next_watch: 0,
            sockets: 0,
            close_reason: "InitialConnect".to_owned(),
        }
    }

    pub fn call(&mut self, path: UdfPath, args: Args) -> oneshot::Receiver<Answer> {
        let (reply, receiver) = oneshot::channel();
        let call = Call {
            answer: self.base.mutation(path, args),
            reply,
            since: Instant::now(),
        };
        self.calls.insert(self.next_request, call);
        self.next_request += 1;
        receiver
    }

    pub fn watch(&mut self, path: UdfPath, args: Args) -> (u64, watch::Receiver<Option<Answer>>) {
        let (to, latest) = watch::channel(None);
        let key = self.next_watch;
        self.next_watch += 1;
        let watch = Watch {
            subscriber: self.base.subscribe(path, args),
            delivered: None,
            to,
        };
        self.watches.insert(key, watch);
        (key, latest)
    }

    pub fn unwatch(&mut self, key: u64) {
        if let Some(watch) = self.watches.remove(&key) {
            self.base.unsubscribe(watch.subscriber);
        }
    }

    pub fn waiting(&self) -> usize {
        self.calls.len()
    }

    pub fn next_request(&self) -> u32 {
        self.next_request
    }

    pub fn has_answered_before(&self, request: u32) -> bool {
        let first = self.calls.first_key_value();
        first.is_none_or(|(first, _)| *first >= request)
    }

    /// Since when the oldest call waits without any call being answered: mutations of a socket run one by one.
    pub fn stalled_since(&self) -> Option<Instant> {
        let oldest = self.calls.values().map(|call| call.since).min()?;
        Some(oldest.max(self.last_answer))
    }

    /// Begins a socket: the `Connect` that goes first. Everything unanswered is queued behind it.
    pub fn begin_socket(&mut self, now_ms: u64) -> Result<ClientMessage, String> {
        let connect = ClientMessage::Connect {
            session_id: self.session,
            connection_count: self.sockets,
            last_close_reason: self.close_reason.clone(),
            max_observed_timestamp: self.base.max_observed_timestamp(),
            client_ts: Some(now_ms),
        };
        self.sockets += 1;
        // Ready at once: it awaits nothing but a token that is there already.
        let resent = self.base.resend_ongoing_queries_mutations().now_or_never();
        if resent.is_none() {
            return Err("the identity was not ready".to_owned());
        }
        let now = Instant::now();
        self.last_answer = now;
        for call in self.calls.values_mut() {
            call.since = now;
        }
        Ok(connect)
    }

    pub fn end_socket(&mut self, reason: &str) {
        reason.clone_into(&mut self.close_reason);
    }

    pub fn next_outgoing(&mut self) -> Option<ClientMessage> {
        self.base.pop_next_message()
    }

    /// Takes one message of the server. `Err` means that the socket is of no more use.
    pub fn receive(&mut self, message: ServerMessage<convex::Value>) -> Result<Received, String> {
        let was_transition = matches!(message, ServerMessage::Transition { .. });
        let request = match &message {
            ServerMessage::MutationResponse { request_id, .. } => Some(*request_id),
            _ => None,
        };
        match self.base.receive_message(message) {
            Ok(_) => {}
            Err(reason) if reason == FORGOTTEN_REQUEST => {
                tracing::debug!(?request, "answer to a request that is answered already");
            }
            Err(reason) => return Err(reason),
        }
        if let Some(request) = request {
            self.last_answer = Instant::now();
            self.answered.push(request);
        }
        let mut received = self.settle();
        received.was_transition = was_transition;
        if was_transition {
            self.publish();
        }
        Ok(received)
    }

    /// Hands out the answers that are final.
    fn settle(&mut self) -> Received {
        let mut received = Received::default();
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
                received.took = Some(call.since.elapsed());
                received.settled += 1;
                // Perhaps nobody waits for it any more: the mutation ran all the same.
                let _ = call.reply.send(result);
            }
            false
        });
        self.answered = answered;
        received
    }

    /// Hands out results that changed.
    pub fn publish(&mut self) {
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

/// A `ConvexError({code, message})` is what our functions say on purpose; everything else is trouble.
fn answer(result: &FunctionResult) -> Answer {
    match result {
        FunctionResult::Value(value) => Ok(to_json(value)),
        FunctionResult::ErrorMessage(message) => Err(CallError::Server(told(message))),
        FunctionResult::ConvexError(error) => {
            let data = to_json(&error.data);
            let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
            Err(match (text("code"), text("message")) {
                (Some(code), Some(message)) => CallError::Refused { code, message },
                _ => CallError::Server(told(&error.message)),
            })
        }
    }
}

/// What may be shown of a failure. A deployment quotes arguments that its validators refuse, whole: our token is among
/// them, and what people have written.
fn told(message: &str) -> String {
    let quotes = ["\nObject: ", "\nValue: "];
    let end = quotes.iter().filter_map(|quote| message.find(quote)).min();
    without_secrets(message[..end.unwrap_or(message.len())].trim_end())
}

#[cfg(test)]
mod tests {
    use convex_sync_types::LogLinesMessage;

    use super::*;

    #[test]
    fn a_refused_argument_shows_neither_our_token_nor_what_people_wrote() {
        let message = "Uncaught ArgumentValidationError: Object contains extra field `later`.\n\n\
            Object: {content: \"hello\", token: \"machine_a:worker_b:secret_def456\"}\nValidator: v.object({})";
        let error = answer(&FunctionResult::ErrorMessage(message.to_owned())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the deployment failed: Uncaught ArgumentValidationError: Object contains extra field `later`."
        );
        let message = "bad token machine_a:worker_b:secret_def456".to_owned();
        let error = answer(&FunctionResult::ErrorMessage(message)).unwrap_err();
        assert!(!error.to_string().contains("def456"), "{error}");
    }

    /// The one text of the pinned crate that we compare with.
    #[test]
    fn the_base_client_still_calls_a_forgotten_request_so() {
        let response = || ServerMessage::MutationResponse {
            request_id: 9,
            result: Ok(convex::Value::Null),
            ts: None,
            log_lines: LogLinesMessage(vec![]),
        };
        let Err(reason) = BaseConvexClient::new().receive_message(response()) else {
            panic!("it was taken");
        };
        assert_eq!(reason, FORGOTTEN_REQUEST);
        assert!(
            Ledger::new(BaseConvexClient::new())
                .receive(response())
                .is_ok()
        );
    }
}
