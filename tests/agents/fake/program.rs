//! The fake OpenCode's process. The words of a prompt say what to do, in their order:
//! `deltas=N` · `bytes=N` (one event so long) · `split` (an umlaut in two pieces) · `cut` (half an event, then the stream
//! breaks) · `silent` (the stream says nothing more, heartbeats neither) · `grow=MB` · `print=MB` (on stdout, without a line's
//! end) · `exit=CODE` · `deaf` (it does not end its turns when asked) · `hang` (the turn never ends). A turn that comes to
//! its words' end is complete.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What is wrong with the program itself, in its environment.
pub const AT_START: &str = "FAKE_OPENCODE";

const SESSION: &str = "ses_fake";

#[test]
#[ignore = "the fake OpenCode: other tests run it as a process of its own"]
fn serves() {
    let Ok(at_start) = std::env::var(AT_START) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(start(&at_start));
}

async fn start(at_start: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    match at_start {
        "never says where" => return std::future::pending().await,
        "says it garbled" => say("opencode server listening on http://127.0.0.1:\u{fffd}x"),
        _ => say(&format!("opencode server listening on http://{address}")),
    }
    match at_start {
        "answers HTML" => {
            let page = async || Html("<html><body>Bad gateway</body></html>");
            axum::serve(listener, Router::new().fallback(page))
                .await
                .unwrap();
        }
        "answers garbage without end" => loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
                let mut more = stream.write_all(head).await.is_ok();
                let garbage = vec![b'['; 64 * 1024];
                while more {
                    more = stream.write_all(&garbage).await.is_ok();
                }
            });
        },
        "answers nothing" => {
            let mut open = Vec::new();
            loop {
                open.push(listener.accept().await.unwrap());
            }
        }
        "stops itself" => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::STOP).unwrap();
        }
        _ => axum::serve(listener, router()).await.unwrap(),
    }
}

fn router() -> Router {
    let fake = Fake::default();
    tokio::spawn(fake.clone().beat());
    Router::new()
        .route("/event", get(events))
        .route("/session", get(sessions).post(create))
        .route("/session/status", get(status))
        .route("/session/{id}", get(session))
        .route("/session/{id}/message", get(messages))
        .route("/session/{id}/message/{message}", get(message))
        .route("/session/{id}/prompt_async", post(prompt))
        .route("/session/{id}/abort", post(async || Json(true)))
        .route("/global/health", get(health))
        .route("/global/dispose", post(dispose))
        .route("/permission", get(permissions))
        .route("/question", get(async || Json(json!([]))))
        .fallback(async || Json(json!({})))
        .with_state(fake)
}

type Piece = Result<Bytes, std::io::Error>;

#[derive(Clone, Default)]
struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    silent: AtomicBool,
    deaf: AtomicBool,
    state: Mutex<Told>,
    ballast: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Told {
    reader: Option<mpsc::Sender<Piece>>,
    created: Option<Value>,
    messages: Vec<Value>,
    requests: Vec<Value>,
    busy: bool,
}

impl Fake {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, piece: Piece) {
        let reader = self.told().reader.clone();
        if let Some(reader) = reader
            && !self.0.silent.load(Ordering::Relaxed)
        {
            let _ = reader.send(piece).await;
        }
    }

    async fn emit(&self, kind: &str, properties: Value) {
        let event = json!({ "type": kind, "properties": properties });
        self.send(Ok(Bytes::from(format!("data: {event}\n\n"))))
            .await;
    }

    async fn beat(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.emit("server.heartbeat", json!({})).await;
        }
    }

    fn store(&self, info: &Value, parts: Value) {
        let mut told = self.told();
        told.messages
            .retain(|message| message["info"]["id"] != info["id"]);
        told.messages.push(json!({ "info": info, "parts": parts }));
    }

    async fn answer(self, user: String, content: String) {
        let (step, part) = (format!("msg_a{user}"), format!("prt_a{user}"));
        let user_info = json!({ "id": user, "role": "user", "sessionID": SESSION, "time": { "created": now_ms() } });
        let mut info = json!({
            "id": step, "role": "assistant", "parentID": user, "sessionID": SESSION, "time": { "created": now_ms() },
        });
        let mut text_part = json!({
            "id": part, "messageID": step, "sessionID": SESSION, "type": "text", "text": "", "time": { "start": now_ms() },
        });
        self.store(&user_info, json!([]));
        self.store(&info, json!([]));
        self.emit("message.updated", json!({ "info": user_info }))
            .await;
        let busy = json!({ "sessionID": SESSION, "status": { "type": "busy" } });
        self.emit("session.status", busy).await;
        self.emit("message.updated", json!({ "info": info })).await;
        self.emit("message.part.updated", json!({ "part": text_part }))
            .await;
        let mut text = String::new();
        for word in content.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, "0"));
            let number: usize = value.parse().unwrap_or(0);
            match name {
                "deltas" => {
                    for number in 0..number {
                        let delta = format!("{number} ");
                        text.push_str(&delta);
                        self.delta(&step, &part, &delta).await;
                    }
                }
                "bytes" => {
                    let filler = "x".repeat(number);
                    self.emit(
                        "session.diff",
                        json!({ "sessionID": SESSION, "diff": filler }),
                    )
                    .await;
                }
                "split" => {
                    text.push('ä');
                    let event = delta_event(&step, &part, "ä");
                    let middle = event.find('ä').unwrap() + 1;
                    let (first, second) = event.as_bytes().split_at(middle);
                    self.send(Ok(Bytes::copy_from_slice(first))).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    self.send(Ok(Bytes::copy_from_slice(second))).await;
                }
                "cut" => {
                    text.push_str("lost with the stream");
                    let event = delta_event(&step, &part, "lost with the stream");
                    let half = &event.as_bytes()[..event.len() / 2];
                    self.send(Ok(Bytes::copy_from_slice(half))).await;
                    self.send(Err(std::io::Error::other("cut"))).await;
                    self.told().reader = None;
                }
                "silent" => {
                    text.push_str("said to nobody");
                    self.0.silent.store(true, Ordering::Relaxed);
                }
                // No event tells of it.
                "asks" => {
                    let request = json!({
                        "id": "per_1", "sessionID": SESSION, "permission": "bash", "patterns": ["ls"],
                    });
                    self.told().requests.push(request);
                }
                "grow" => {
                    let mut ballast = self.0.ballast.lock().unwrap();
                    ballast.push(vec![1; number * 1024 * 1024]);
                }
                "print" => print_without_end(number),
                "exit" => {
                    // What was said before is on its way by then.
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    std::process::exit(number as i32);
                }
                "deaf" => self.0.deaf.store(true, Ordering::Relaxed),
                "hang" => return std::future::pending().await,
                _ => {}
            }
        }
        text_part["text"] = text.into();
        text_part["time"]["end"] = now_ms().into();
        info["time"]["completed"] = now_ms().into();
        info["finish"] = "stop".into();
        self.store(&info, json!([text_part]));
        self.told().busy = false;
        self.emit("message.part.updated", json!({ "part": text_part }))
            .await;
        self.emit("message.updated", json!({ "info": info })).await;
        let idle = json!({ "sessionID": SESSION, "status": { "type": "idle" } });
        self.emit("session.status", idle).await;
        self.emit("session.idle", json!({ "sessionID": SESSION }))
            .await;
    }

    async fn delta(&self, step: &str, part: &str, delta: &str) {
        let event = delta_event(step, part, delta);
        self.send(Ok(Bytes::from(event))).await;
    }
}

fn delta_event(step: &str, part: &str, delta: &str) -> String {
    let properties = json!({
        "sessionID": SESSION, "messageID": step, "partID": part, "field": "text", "delta": delta,
    });
    let event = json!({ "type": "message.part.delta", "properties": properties });
    format!("data: {event}\n\n")
}

#[allow(
    clippy::print_stdout,
    reason = "OpenCode says on stdout where it listens"
)]
fn say(line: &str) {
    println!("{line}");
}

fn print_without_end(megabytes: usize) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let piece = vec![b'y'; 1024 * 1024];
    for _ in 0..megabytes {
        out.write_all(&piece).unwrap();
    }
    out.flush().unwrap();
}

async fn events(State(fake): State<Fake>) -> Response {
    let (to, events) = mpsc::channel::<Piece>(16);
    let hello = Bytes::from_static(b"data: {\"type\":\"server.connected\",\"properties\":{}}\n\n");
    let _ = to.send(Ok(hello)).await;
    fake.0.silent.store(false, Ordering::Relaxed);
    fake.told().reader = Some(to);
    let stream = futures_util::stream::unfold(events, |mut events| async {
        let next = events.recv().await?;
        Some((next, events))
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(stream),
    )
        .into_response()
}

async fn dispose(State(fake): State<Fake>) -> Json<Value> {
    say("asked to end its turns");
    if fake.0.deaf.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    Json(json!(true))
}

async fn health() -> Json<Value> {
    Json(json!({ "healthy": true, "version": orchestrator::adapters::opencode::PINNED_VERSION }))
}

async fn sessions(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.told().created.iter().cloned().collect())
}

async fn create(
    State(fake): State<Fake>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, Infallible> {
    let directory =
        std::env::current_dir().map_or_else(|_| String::new(), |path| path.display().to_string());
    let session = json!({
        "id": SESSION, "directory": directory, "metadata": body["metadata"], "time": { "created": now_ms() },
    });
    fake.told().created = Some(session.clone());
    Ok(Json(session))
}

async fn session(State(fake): State<Fake>) -> Response {
    match &fake.told().created {
        Some(session) => Json(session.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn status(State(fake): State<Fake>) -> Json<Value> {
    if fake.told().busy {
        Json(json!({ SESSION: { "type": "busy" } }))
    } else {
        Json(json!({}))
    }
}

async fn permissions(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.told().requests.clone().into())
}

async fn messages(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.told().messages.clone().into())
}

async fn message(State(fake): State<Fake>, Path((_, message)): Path<(String, String)>) -> Response {
    let told = fake.told();
    let found = told
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
    fake.told().busy = true;
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
