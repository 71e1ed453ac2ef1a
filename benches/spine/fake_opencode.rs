//! A scripted OpenCode: the HTTP calls that the adapter makes, and the event stream of an answer. The prompt says what to
//! answer: `deltas=1000 rate=100`; a rate of 0 is as fast as the reader takes them. Each delta carries the
//! time at which it was written (see `stamps`), so this process is where the latency table's clock starts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::common::stamps;

/// The one conversation.
const SESSION: &str = "ses_bench";
/// Messages that are kept; older ones nobody asks for.
const KEPT: usize = 64;

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    reader: Option<mpsc::Sender<Bytes>>,
    /// Ours of the supervisor's session, once it was created.
    created: Option<Value>,
    directory: String,
    messages: Vec<Value>,
    busy: bool,
}

/// Serves until it is killed.
pub fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve());
}

async fn serve() {
    let fake = Fake::default();
    fake.lock().directory = std::env::current_dir()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let app = Router::new()
        .route("/event", get(events))
        .route("/session", get(sessions).post(create))
        .route("/session/status", get(status))
        .route("/session/{id}", get(session))
        .route("/session/{id}/message", get(messages))
        .route("/session/{id}/message/{message}", get(message))
        .route("/session/{id}/prompt_async", post(prompt))
        .route("/session/{id}/abort", post(async || Json(true)))
        .route("/global/health", get(health))
        .route("/global/dispose", post(async || Json(true)))
        .route("/permission", get(async || Json(json!([]))))
        .route("/question", get(async || Json(json!([]))))
        .fallback(async || Json(json!({})))
        .with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    println!("opencode server listening on http://{address}");
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, app).await.expect("a server");
}

impl Fake {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the reader is behind.
    async fn emit(&self, kind: &str, properties: Value) {
        let Some(reader) = self.lock().reader.clone() else {
            return;
        };
        let event = json!({ "type": kind, "properties": properties });
        let _ = reader.send(Bytes::from(format!("data: {event}\n\n"))).await;
    }

    fn store(&self, info: Value, parts: Value) {
        let mut inner = self.lock();
        inner
            .messages
            .retain(|message| message["info"]["id"] != info["id"]);
        inner.messages.push(json!({ "info": info, "parts": parts }));
        let surplus = inner.messages.len().saturating_sub(KEPT);
        inner.messages.drain(..surplus);
    }

    async fn answer(self, user: String, content: String) {
        let number = |name: &str| -> u64 {
            let words = content.split_whitespace();
            let found = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.map(str::parse).find_map(Result::ok).unwrap_or(0)
        };
        let (deltas, rate) = (number("deltas"), number("rate"));
        let (step, part) = (format!("msg_a{user}"), format!("prt_a{user}"));
        let user_info = json!({ "id": user, "role": "user", "sessionID": SESSION, "time": { "created": now_ms() } });
        let mut info = json!({
            "id": step, "role": "assistant", "parentID": user, "sessionID": SESSION, "time": { "created": now_ms() },
        });
        let mut text_part = json!({
            "id": part, "messageID": step, "sessionID": SESSION, "type": "text", "text": "", "time": { "start": now_ms() },
        });
        self.store(user_info.clone(), json!([]));
        self.store(info.clone(), json!([]));
        self.emit("message.updated", json!({ "info": user_info }))
            .await;
        self.emit(
            "session.status",
            json!({ "sessionID": SESSION, "status": { "type": "busy" } }),
        )
        .await;
        self.emit("message.updated", json!({ "info": info })).await;
        self.emit("message.part.updated", json!({ "part": text_part }))
            .await;
        let mut text = String::new();
        let mut pace =
            (rate > 0).then(|| tokio::time::interval(Duration::from_secs(1) / rate as u32));
        for _ in 0..deltas {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            let delta = stamps::stamped();
            text.push_str(&delta);
            let properties = json!({
                "sessionID": SESSION, "messageID": step, "partID": part, "field": "text", "delta": delta,
            });
            self.emit("message.part.delta", properties).await;
        }
        text_part["text"] = text.into();
        text_part["time"]["end"] = now_ms().into();
        info["time"]["completed"] = now_ms().into();
        info["finish"] = "stop".into();
        self.store(info.clone(), json!([text_part]));
        self.lock().busy = false;
        self.emit("message.part.updated", json!({ "part": text_part }))
            .await;
        self.emit("message.updated", json!({ "info": info })).await;
        self.emit(
            "session.status",
            json!({ "sessionID": SESSION, "status": { "type": "idle" } }),
        )
        .await;
        self.emit("session.idle", json!({ "sessionID": SESSION }))
            .await;
    }
}

async fn events(State(fake): State<Fake>) -> Response {
    let (to, events) = mpsc::channel(16);
    let hello = Bytes::from_static(b"data: {\"type\":\"server.connected\",\"properties\":{}}\n\n");
    let _ = to.send(hello).await;
    fake.lock().reader = Some(to);
    let stream = tokio_stream(events).map(Ok::<_, std::convert::Infallible>);
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(stream),
    )
        .into_response()
}

fn tokio_stream(events: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(events, |mut events| async {
        let next = events.recv().await?;
        Some((next, events))
    })
}

async fn health() -> Json<Value> {
    Json(json!({ "healthy": true, "version": orchestrator::adapters::opencode::PINNED_VERSION }))
}

async fn sessions(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.lock().created.iter().cloned().collect())
}

async fn create(State(fake): State<Fake>, Json(body): Json<Value>) -> Json<Value> {
    let mut inner = fake.lock();
    let session = json!({
        "id": SESSION, "directory": inner.directory, "metadata": body["metadata"], "time": { "created": now_ms() },
    });
    inner.created = Some(session.clone());
    Json(session)
}

async fn session(State(fake): State<Fake>) -> Response {
    match &fake.lock().created {
        Some(session) => Json(session.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn status(State(fake): State<Fake>) -> Json<Value> {
    if fake.lock().busy {
        Json(json!({ SESSION: { "type": "busy" } }))
    } else {
        Json(json!({}))
    }
}

async fn messages(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.lock().messages.clone().into())
}

async fn message(State(fake): State<Fake>, Path((_, message)): Path<(String, String)>) -> Response {
    let inner = fake.lock();
    let found = inner
        .messages
        .iter()
        .find(|stored| stored["info"]["id"] == message.as_str());
    match found {
        Some(found) => Json(found.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn prompt(State(fake): State<Fake>, Json(body): Json<Value>) -> StatusCode {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    fake.lock().busy = true;
    let answer = fake
        .clone()
        .answer(text(&body["messageID"]), text(&body["parts"][0]["text"]));
    tokio::spawn(answer);
    StatusCode::NO_CONTENT
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64)
}
