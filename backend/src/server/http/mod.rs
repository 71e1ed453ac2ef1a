//! The HTTP API of a deployment, as `ConvexHttpClient`, the Python HTTP client and curl use it: one call per request.
//!
//! A call that ran answers 200, whatever came of it, with `{status, value | errorMessage, errorData, logLines}`: npm's
//! client takes 560 for a failed function, too, but PyPI's reads `errorData` of a 200 only. Anything that kept a call from running answers `{code, message}` with a status of its own. A mutation sent
//! here carries no session: a caller that gets no answer cannot ask again safely, except by a key of its own.

mod body;
mod format;
mod refusal;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;

use super::app::App;
use super::sync::fit::Fitted;
use super::sync::messages;
use crate::engine::{Call, FunctionError};
pub(super) use body::BodyRoom;
use body::{CallBody, Format};
pub(super) use refusal::Refusal;

/// A mutation waits for its turn and cannot be taken back.
const STILL_RUNNING: &str =
    "the mutation took too long and may still run: look whether it has before you send it again";

/// A request that has become a call. What it holds is held until the answer is on its way: it bounds the memory that
/// callers can make us use.
struct Accepted<'a> {
    call: Call,
    body: CallBody,
    _permit: SemaphorePermit<'a>,
    _room: Option<SemaphorePermit<'a>>,
}

/// What a call came to, whichever kind it was.
struct Answer {
    result: Result<Value, FunctionError>,
    log_lines: Vec<String>,
}

pub(super) async fn query(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = accept(&app, request).await?;
    let answer = run_query(&app, accepted.call, None).await?;
    Ok(reply(&app, answer, accepted.body.format))
}

/// A timestamp that several `query_at_ts` can share, so that their answers belong together.
pub(super) async fn query_ts(State(app): State<Arc<App>>) -> Response {
    let ts = STANDARD.encode(app.engine.latest_ts().to_le_bytes());
    Json(json!({ "ts": ts })).into_response()
}

pub(super) async fn query_at_ts(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = accept(&app, request).await?;
    let ts = accepted.body.timestamp()?;
    if ts > app.engine.latest_ts() {
        return Err(Refusal::bad_request(
            "BadTimestamp",
            "`ts` lies in the future",
        ));
    }
    let answer = run_query(&app, accepted.call, Some(ts)).await?;
    Ok(reply(&app, answer, accepted.body.format))
}

pub(super) async fn mutation(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = accept(&app, request).await?;
    let answer = run_mutation(&app, accepted.call).await?;
    Ok(reply(&app, answer, accepted.body.format))
}

/// A function of either kind.
pub(super) async fn function(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = accept(&app, request).await?;
    let answer = run_function(&app, accepted.call).await?;
    Ok(reply(&app, answer, accepted.body.format))
}

pub(super) async fn action() -> Refusal {
    Refusal::bad_request("ActionsUnsupported", messages::ACTIONS_UNSUPPORTED)
}

pub(super) async fn version(State(app): State<Arc<App>>) -> String {
    app.instance.version.clone()
}

pub(super) async fn instance_name(State(app): State<Arc<App>>) -> String {
    app.instance.name.clone()
}

pub(super) fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "NotFound",
        "no such path: this deployment serves /api/sync, /api/query, /api/mutation and /version",
    )
}

pub(super) async fn method_not_allowed() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "this path takes another method: POST for /api/query, /api/mutation and /api/action, GET for /version",
    )
}

async fn accept(app: &App, request: Request) -> Result<Accepted<'_>, Refusal> {
    let authorization = authorization(&request)?;
    let caller = app
        .verifier
        .verify_header(authorization.as_deref())
        .map_err(|error| Refusal::unauthenticated(&error.to_string()))?;
    let (mut body, room) = CallBody::read(app, request, caller.is_some()).await?;
    let call = Call {
        path: body.canonical_path()?,
        args: body.take_args()?,
        identity: caller.map(|verified| verified.identity),
    };
    Ok(Accepted {
        call,
        body,
        _permit: permit(app).await?,
        _room: room,
    })
}

async fn permit(app: &App) -> Result<SemaphorePermit<'_>, Refusal> {
    match tokio::time::timeout(app.tuning.call_timeout, app.http_calls.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Refusal::unavailable("too many calls at once: try again")),
    }
}

fn authorization(request: &Request) -> Result<Option<String>, Refusal> {
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return Ok(None);
    };
    let text = header
        .to_str()
        .map_err(|_| Refusal::unauthenticated("the Authorization header is not text"))?;
    Ok(Some(text.to_owned()))
}

async fn run_query(app: &App, call: Call, at: Option<u64>) -> Result<Answer, Refusal> {
    let outcome = in_time(app, app.engine.query(call, at), "the query took too long").await?;
    let outcome = outcome
        .map_err(|gone| Refusal::new(StatusCode::CONFLICT, "SnapshotGone", &gone.to_string()))?;
    Ok(Answer {
        result: outcome.result,
        log_lines: outcome.log_lines,
    })
}

async fn run_mutation(app: &App, call: Call) -> Result<Answer, Refusal> {
    let outcome = in_time(app, app.engine.mutation(call), STILL_RUNNING).await?;
    Ok(Answer {
        result: outcome.result,
        log_lines: outcome.log_lines,
    })
}

async fn run_function(app: &App, call: Call) -> Result<Answer, Refusal> {
    let answer = run_query(app, call.clone(), None).await?;
    match &answer.result {
        // a mutation run as a query is refused before its code starts
        Err(error) if messages::says_not_a_query(error) => run_mutation(app, call).await,
        _ => Ok(answer),
    }
}

async fn in_time<T, E: std::fmt::Display>(
    app: &App,
    call: impl Future<Output = Result<T, E>>,
    late: &str,
) -> Result<T, Refusal> {
    match tokio::time::timeout(app.tuning.call_timeout, call).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(down)) => Err(Refusal::unavailable(&down.to_string())),
        Err(_) => Err(Refusal::unavailable(late)),
    }
}

fn reply(app: &App, answer: Answer, format: Format) -> Response {
    let answer = Fitted::new(answer.result, answer.log_lines, app.tuning.result_bytes);
    let encode = |value: Value| match format {
        Format::Encoded => format::floats(value),
        Format::Plain => format::plain(value),
    };
    match answer.result {
        Ok(value) => Json(json!({
            "status": "success", "value": encode(value), "logLines": answer.log_lines,
        }))
        .into_response(),
        Err(error) => {
            let mut body = json!({
                "status": "error", "errorMessage": error.message, "logLines": answer.log_lines,
            });
            if let Some(data) = error.data {
                body["errorData"] = encode(data);
            }
            Json(body).into_response()
        }
    }
}
