//! The listening half. It owns the socket file; it refuses other users, bounds frames, connections and waiting, and
//! hands verbs to a [`Handler`]. It runs only while the instance lock is held, which is what makes removing a stale
//! socket safe.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use orchestrator_actors::ports::Pending;
use serde_json::Value;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use tracing::{debug, warn};

use super::protocol::{Answer, MAX_REQUEST, Refusal, Verb, parse_request};
use crate::config::paths::private_dir;

/// Commands at once; a further one waits until one of them is done.
const MAX_CONNECTIONS: usize = 32;
/// How often the socket's file is looked for.
const LOOK: Duration = Duration::from_secs(3);
/// A client that says nothing for this long is hung up on.
const QUIET: Duration = Duration::from_mins(1);
/// A client that does not read its answer for this long is hung up on.
const SLOW_READER: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("cannot listen on the control socket {path}: {reason}")]
    Listen { path: PathBuf, reason: String },
}

/// Meets requests.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, verb: Verb) -> Pending<Result<Value, Refusal>>;
}

/// A running server. Dropping it ends every connection and removes the socket.
pub struct Server {
    path: PathBuf,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens. The caller holds the instance lock.
    pub fn start(path: &Path, handler: Arc<dyn Handler>) -> Result<Self, ServerError> {
        let failed = |reason: String| ServerError::Listen {
            path: path.to_owned(),
            reason,
        };
        if let Some(folder) = path.parent() {
            private_dir(folder).map_err(|error| failed(error.to_string()))?;
        }
        match std::fs::remove_file(path) {
            Ok(()) => debug!(path = %path.display(), "stale control socket removed"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        let listener = bind(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            accepting: tokio::spawn(accept(listener, path.to_owned(), handler)),
        })
    }
}

fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    // Somebody could connect before this line: the peer's user id is checked at every connection.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The runtime folder is emptied when its user's last session ends; whoever comes back must find the supervisor.
async fn bind_again(path: &Path) -> Option<UnixListener> {
    if tokio::fs::try_exists(path).await.unwrap_or(true) {
        return None;
    }
    let made = path.parent().map_or(Ok(()), |folder| {
        private_dir(folder).map_err(std::io::Error::other)
    });
    match made.and_then(|()| bind(path)) {
        Ok(listener) => {
            warn!(path = %path.display(), "the control socket was gone; it is there again");
            Some(listener)
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "the control socket is gone");
            None
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(mut listener: UnixListener, path: PathBuf, handler: Arc<dyn Handler>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = looks.tick() => {
                if let Some(again) = bind_again(&path).await {
                    listener = again;
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) if is_same_user(&stream) => {
                let handler = Arc::clone(&handler);
                connections.spawn(async move {
                    serve(stream, handler).await;
                    drop(slot);
                });
            }
            Ok(_) => warn!("control connection of another user refused"),
            Err(error) => {
                // Out of descriptors, most likely: breathe, then try again.
                warn!(%error, "control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_same_user(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == rustix::process::getuid().as_raw())
}

async fn serve(stream: UnixStream, handler: Arc<dyn Handler>) {
    let mut frames = Framed::new(stream, LinesCodec::new_with_max_length(MAX_REQUEST));
    while let Ok(Some(line)) = tokio::time::timeout(QUIET, frames.next()).await {
        let (result, last) = match line {
            Ok(line) => match parse_request(&line) {
                Ok(verb) => (handler.handle(verb).await, false),
                Err(refusal) => (Err(refusal), false),
            },
            Err(LinesCodecError::MaxLineLengthExceeded) => (
                Err(Refusal::new("invalid", "the request is too long")),
                true,
            ),
            Err(LinesCodecError::Io(_)) => return,
        };
        let Ok(text) = serde_json::to_string(&Answer::from_result(result)) else {
            return;
        };
        let sent = tokio::time::timeout(SLOW_READER, frames.send(text)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{ClientError, call};
    use super::super::protocol::Request;
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, verb: Verb) -> Pending<Result<Value, Refusal>> {
            Box::pin(async move {
                match verb {
                    Verb::Ps => Ok(json!({"machine": "m"})),
                    other => Err(Refusal::new("failed", format!("{other:?}"))),
                }
            })
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_and_the_socket_is_private_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/c.sock");
        let server = Server::start(&path, Arc::new(Echo)).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let limit = Duration::from_secs(5);
        let value = call(&path, &Request::new(Verb::Ps), limit).await.unwrap();
        assert_eq!(value, json!({"machine": "m"}));
        let refused = call(&path, &Request::new(Verb::Reload { dry_run: true }), limit).await;
        assert!(matches!(refused, Err(ClientError::Refused(_))));
        drop(server);
        let gone = call(&path, &Request::new(Verb::Ps), limit).await;
        assert!(matches!(gone, Err(ClientError::NotListening { .. })));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _server = Server::start(&path, Arc::new(Echo)).unwrap();
        let value = call(&path, &Request::new(Verb::Ps), Duration::from_secs(5)).await;
        assert!(value.is_ok());
    }

    #[tokio::test]
    async fn a_flood_without_a_newline_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        let _server = Server::start(&path, Arc::new(Echo)).unwrap();
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let _ = stream.write_all(&vec![b'x'; MAX_REQUEST + 10]).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.contains("too long"), "{answer}");
        let value = call(&path, &Request::new(Verb::Ps), Duration::from_secs(5)).await;
        assert!(value.is_ok());
    }
}
