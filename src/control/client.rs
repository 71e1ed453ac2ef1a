//! The asking half: one connection, one request, one answer.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};

use super::protocol::{Answer, MAX_ANSWER, Refusal, Request};

#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there: no supervisor runs, or it is about to start or to stop.
    #[error("nothing listens on {path}")]
    NotListening { path: PathBuf },
    #[error("the supervisor did not answer on {path} within {seconds} s")]
    Silent { path: PathBuf, seconds: u64 },
    #[error("cannot talk to the supervisor on {path}: {reason}")]
    Broken { path: PathBuf, reason: String },
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Asks, and waits for the answer until `limit` is over.
pub async fn call(path: &Path, request: &Request, limit: Duration) -> Result<Value, ClientError> {
    tokio::time::timeout(limit, exchange(path, request))
        .await
        .unwrap_or_else(|_| {
            Err(ClientError::Silent {
                path: path.to_owned(),
                seconds: limit.as_secs(),
            })
        })
}

async fn exchange(path: &Path, request: &Request) -> Result<Value, ClientError> {
    let broken = |reason: String| ClientError::Broken {
        path: path.to_owned(),
        reason,
    };
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NotListening {
                path: path.to_owned(),
            },
            _ => broken(error.to_string()),
        })?;
    let mut frames = Framed::new(stream, LinesCodec::new_with_max_length(MAX_ANSWER));
    let text = serde_json::to_string(request).map_err(|error| broken(error.to_string()))?;
    frames
        .send(text)
        .await
        .map_err(|error| broken(error.to_string()))?;
    let line = frames
        .next()
        .await
        .ok_or_else(|| broken("it hung up without an answer".to_owned()))?
        .map_err(|error| broken(error.to_string()))?;
    let answer: Answer = serde_json::from_str(&line).map_err(|error| broken(error.to_string()))?;
    Ok(answer.into_result()?)
}
