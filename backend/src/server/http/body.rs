//! The body of a call: `{path, args, format, ts}`. Size, shape and punctuality are checked here; what the arguments mean
//! is the function's business.
//!
//! What bodies hold of the memory is bounded by [`BodyRoom`]. Anybody on this machine can begin a body and never end it:
//! so whoever has shown a token waits behind nobody who has not, and a small body waits for nobody.

use axum::body::{HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::Refusal;
use crate::server::app::App;
use crate::server::sync::messages;

/// How values are written in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Format {
    /// Convex's own JSON encoding (`$integer`, `$bytes`), what its clients read.
    #[serde(rename = "convex_encoded_json")]
    Encoded,
    /// JSON for people and curl.
    #[default]
    #[serde(rename = "json")]
    Plain,
}

#[derive(Debug, Deserialize)]
pub(super) struct CallBody {
    path: String,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    pub(super) format: Format,
    ts: Option<String>,
}

/// Of a body up to this size nobody counts: all connections together cannot hold much of them.
const SMALL_BODY: usize = 64 << 10;
/// Room is counted in this.
const UNIT: usize = 1 << 10;

/// How much of the memory bodies may hold, for callers who have shown a token and for all others.
pub(in crate::server) struct BodyRoom {
    known: Semaphore,
    unknown: Semaphore,
}

impl BodyRoom {
    pub(in crate::server) fn new(bytes: usize) -> Self {
        let room = || Semaphore::new(bytes / UNIT);
        Self {
            known: room(),
            unknown: room(),
        }
    }

    /// All of it before the first byte is read: bodies that wait for each other would never end.
    async fn of(&self, bytes: usize, known: bool) -> Option<SemaphorePermit<'_>> {
        if bytes <= SMALL_BODY {
            return None;
        }
        let room = if known { &self.known } else { &self.unknown };
        // nobody closes these semaphores
        room.acquire_many(bytes.div_ceil(UNIT) as u32).await.ok()
    }
}

impl CallBody {
    /// And the room that it holds.
    pub(super) async fn read(
        app: &App,
        request: Request,
        known: bool,
    ) -> Result<(Self, Option<SemaphorePermit<'_>>), Refusal> {
        let limit = app.tuning.message_bytes;
        // without a length, or with one that is refused anyway, the largest
        let announced = request.body().size_hint().exact();
        let bytes = announced.map_or(limit, |bytes| (bytes as usize).min(limit));
        let room = app.http_bodies.of(bytes, known);
        let room = timeout(app.tuning.call_timeout, room)
            .await
            .map_err(|_| Refusal::unavailable("too many large calls at once: try again"))?;
        let bytes = to_bytes(request.into_body(), limit);
        let bytes = timeout(app.tuning.body_timeout, bytes)
            .await
            .map_err(|_| late(app))?
            .map_err(|_| {
                let message = format!("the body is larger than {limit} bytes, or was cut off");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", &message)
            })?;
        // A list would be taken for the fields in their order.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first.is_some_and(|byte| *byte != b'{')
            && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()
        {
            return Err(Refusal::bad_request(
                "BadJsonBody",
                "the body must be one JSON object, like {\"path\": \"messages:list\", \"args\": {}}",
            ));
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::bad_request("BadJsonBody", &error.to_string()))?;
        Ok((body, room))
    }

    pub(super) fn canonical_path(&self) -> Result<String, Refusal> {
        messages::canonical_path(&self.path)
            .map_err(|reason| Refusal::bad_request("BadFunctionPath", &reason))
    }

    /// The one argument object, given as such or as a list of one.
    pub(super) fn take_args(&mut self) -> Result<Value, Refusal> {
        messages::single_argument(self.args.take())
            .map_err(|reason| Refusal::bad_request("BadArguments", &reason))
    }

    pub(super) fn timestamp(&self) -> Result<u64, Refusal> {
        let decoded = self.ts.as_deref().map(|ts| STANDARD.decode(ts));
        match decoded.map(|bytes| bytes.map(<[u8; 8]>::try_from)) {
            Some(Ok(Ok(bytes))) => Ok(u64::from_le_bytes(bytes)),
            _ => Err(Refusal::bad_request(
                "BadTimestamp",
                "`ts` must be the value that /api/query_ts returned",
            )),
        }
    }
}

fn late(app: &App) -> Refusal {
    let message = format!(
        "the body did not arrive within {} ms",
        app.tuning.body_timeout.as_millis()
    );
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "BodyTimeout", &message)
}
