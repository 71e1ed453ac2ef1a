//! The command line's side of a deployment: queries, mutations and subscriptions under an owner's identity.
//!
//! Unlike the supervisor, a person waits for an answer: every call has a time limit, and nobody listening at
//! the other end is said at once. The socket is kept by a task that ends with the client.

use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::ports::link::{CallError, LinkPhase};
use secrecy::SecretString;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Answer, Connection, DriveEnd, Settings};

/// Results that a subscriber may be behind before it gets the latest only.
const SUBSCRIPTION_BUFFER: usize = 8;

/// Who can prove to be an owner.
pub trait OwnerAuth: Send + Sync {
    /// A token for one socket; asked again on every new one, so it may be short-lived. Must not block.
    fn jwt(&self) -> Result<SecretString, AuthFailure>;
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct AuthFailure(pub String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    #[error("the deployment at {url} cannot be reached: {reason}")]
    Unreachable { url: String, reason: String },
    /// The identity was refused, or has no right to this.
    #[error("{message}")]
    Unauthorized { message: String },
    /// A `ConvexError({code, message})` of our functions.
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error("the deployment failed: {0}")]
    Server(String),
}

impl From<CallError> for ClientError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { code, message } if code == "unauthorized" => {
                Self::Unauthorized { message }
            }
            CallError::Refused { code, message } => Self::Refused { code, message },
            CallError::Server(message) => Self::Server(message),
            CallError::Closed => Self::Server("the connection was closed".to_owned()),
        }
    }
}

pub struct OwnerClient {
    connection: Arc<Connection>,
    url: Arc<str>,
    timeout: Duration,
    /// Set when the connection gave up for good.
    ended: watch::Receiver<Option<ClientError>>,
    _drive: AbortOnDropHandle<()>,
}

impl OwnerClient {
    /// Connects and proves who we are. `timeout` is also the limit of every later call.
    pub async fn connect(
        url: &str,
        auth: Arc<dyn OwnerAuth>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::connect_as(url, Some(auth), timeout).await
    }

    /// For functions that take a token as an argument.
    pub async fn connect_without_identity(
        url: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::connect_as(url, None, timeout).await
    }

    async fn connect_as(
        url: &str,
        auth: Option<Arc<dyn OwnerAuth>>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let connection = Connection::new(url, Settings::suited_to(url), auth);
        let url: Arc<str> = url.into();
        let (end, ended) = watch::channel(None);
        let drive = tokio::spawn({
            let (connection, url) = (Arc::clone(&connection), Arc::clone(&url));
            async move {
                let error = given_up(&url, connection.drive().await);
                end.send_replace(Some(error));
            }
        });
        let client = Self {
            connection,
            url,
            timeout,
            ended,
            _drive: AbortOnDropHandle::new(drive),
        };
        client.until_synced().await?;
        Ok(client)
    }

    async fn until_synced(&self) -> Result<(), ClientError> {
        let mut standing = self.connection.standing();
        let is_up = async {
            let first = standing.wait_for(|s| s.phase == LinkPhase::Synced || s.nobody_there);
            first.await.is_ok_and(|s| s.phase == LinkPhase::Synced)
        };
        if self.within(is_up).await? {
            return Ok(());
        }
        Err(self.unreachable())
    }

    pub async fn query(&self, function: &str, args: Value) -> Result<Value, ClientError> {
        let mut watching = self.connection.watch(function, args)?;
        let answer = self.within(watching.next()).await?;
        Ok(answer.unwrap_or(Err(CallError::Closed))?)
    }

    /// A mutation whose answer does not come in time may have run all the same: its arguments carry an id of
    /// the caller's making, so that it can be repeated.
    pub async fn mutation(&self, function: &str, args: Value) -> Result<Value, ClientError> {
        let receiver: oneshot::Receiver<Answer> = self.connection.call(function, args)?;
        let answer = self.within(receiver).await?;
        Ok(answer.unwrap_or(Err(CallError::Closed))?)
    }

    /// The query's result now and whenever it changed; a slow reader gets the latest one. Ends when the
    /// connection gave up (the last item says why) or the client is dropped.
    pub fn subscribe(
        &self,
        function: &str,
        args: Value,
    ) -> mpsc::Receiver<Result<Value, ClientError>> {
        let (to, receiver) = mpsc::channel(SUBSCRIPTION_BUFFER);
        let watching = self.connection.watch(function, args);
        let mut ended = self.ended.clone();
        tokio::spawn(async move {
            let mut watching = match watching {
                Ok(watching) => watching,
                Err(error) => {
                    let _ = to.send(Err(error.into())).await;
                    return;
                }
            };
            loop {
                let item = tokio::select! {
                    () = to.closed() => return,
                    error = end_of(&mut ended) => {
                        if let Some(error) = error {
                            let _ = to.send(Err(error)).await;
                        }
                        return;
                    }
                    answer = watching.next() => match answer {
                        Some(answer) => answer.map_err(ClientError::from),
                        None => return,
                    },
                };
                if to.send(item).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Whether the deployment is connected right now, and why not.
    pub fn is_connected(&self) -> Result<(), String> {
        let standing = self.connection.standing().borrow().clone();
        match standing.phase {
            LinkPhase::Synced => Ok(()),
            _ => Err(standing
                .last_error
                .unwrap_or_else(|| "connecting".to_owned())),
        }
    }

    /// Round trip of the last mutation, in microseconds.
    pub fn rtt_us(&self) -> Option<u64> {
        self.connection.rtt_us()
    }

    /// Waits for `what`, the connection's end or the time limit.
    async fn within<T>(&self, what: impl Future<Output = T>) -> Result<T, ClientError> {
        let mut ended = self.ended.clone();
        tokio::select! {
            // A connection that has given up still holds the answers it got before.
            biased;
            value = what => Ok(value),
            error = end_of(&mut ended) => Err(error.unwrap_or_else(|| self.unreachable())),
            () = tokio::time::sleep(self.timeout) => Err(self.unreachable()),
        }
    }

    fn unreachable(&self) -> ClientError {
        let standing = self.connection.standing().borrow().clone();
        let reason = standing
            .last_error
            .unwrap_or_else(|| format!("no answer within {:?}", self.timeout));
        ClientError::Unreachable {
            url: self.url.to_string(),
            reason,
        }
    }
}

/// Why the connection gave up; `None` when the client was dropped.
async fn end_of(ended: &mut watch::Receiver<Option<ClientError>>) -> Option<ClientError> {
    let end = ended.wait_for(Option::is_some).await.ok()?;
    end.clone()
}

fn given_up(url: &str, end: DriveEnd) -> ClientError {
    match end {
        DriveEnd::Unauthorized(message) => ClientError::Unauthorized { message },
        DriveEnd::BadUrl(reason) | DriveEnd::Protocol(reason) => ClientError::Unreachable {
            url: url.to_owned(),
            reason,
        },
    }
}
