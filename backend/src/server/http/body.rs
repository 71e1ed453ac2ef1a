//! The body of a call: `{path, args, format, ts}`. Size and shape are checked here; what the arguments mean is the
//! function's business.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
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

impl CallBody {
    pub(super) async fn read(request: Request, limit: usize) -> Result<Self, Refusal> {
        let bytes = to_bytes(request.into_body(), limit).await.map_err(|_| {
            let message = format!("the body is larger than {limit} bytes, or was cut off");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLarge", &message)
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::bad_request("BadJsonBody", &error.to_string()))
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
