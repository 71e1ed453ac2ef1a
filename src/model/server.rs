//! The model's HTTP side: `/v1/chat/completions`, `/v1/models`, `/stats`, `/reset`. On loopback only, without CORS: a
//! page in a browser cannot read it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::play::Player;
use super::reply;
use super::request::ChatRequest;
use super::script::{Op, Script};
use super::stats::Stats;

#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// 0 is a random one.
    pub port: u16,
    /// How many requests the statistics keep whole.
    pub history: usize,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            port: 0,
            history: 32,
        }
    }
}

/// A model that listens; it ends when this is dropped.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Model {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a provider's `baseURL` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Shared {
    options: ModelOptions,
    stats: Arc<Stats>,
    numbers: AtomicU64,
}

/// Starts to serve.
pub async fn listen(options: ModelOptions) -> std::io::Result<Model> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared {
        options,
        stats: Arc::default(),
        numbers: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/models", get(models))
        .route("/stats", get(stats))
        .route("/reset", post(reset))
        // Long conversations are sent whole with every request.
        .layer(DefaultBodyLimit::max(64 * 1024 * 1024))
        .with_state(shared);
    let server = tokio::spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let _ = axum::serve(listener, router).await;
    });
    Ok(Model { address, server })
}

async fn models() -> Json<Value> {
    Json(
        json!({"object": "list", "data": [{"id": "scripted", "object": "model", "owned_by": "demo"}]}),
    )
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.stats.to_json())
}

async fn reset(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.stats.reset();
    StatusCode::NO_CONTENT
}

async fn complete(State(shared): State<Arc<Shared>>, Json(request): Json<ChatRequest>) -> Response {
    if request.wants_a_title() {
        shared.stats.count_aside();
        let ops = reply::title(&request);
        return play(&shared, request.model, 0, ops);
    }
    let attempt = shared.stats.count(&request, shared.options.history);
    let ops = match Script::of_prompt(&request.prompt()) {
        None => reply::to(&request),
        Some(Ok(script)) => script.step(request.step()),
        Some(Err(error)) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                &format!("the script is broken: {error}"),
            );
        }
    };
    if let Some(Op::Status {
        status,
        times,
        headers,
        message,
    }) = ops.first()
        && times.is_none_or(|times| attempt < times)
    {
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = message
            .clone()
            .unwrap_or_else(|| format!("scripted {}", status.as_u16()));
        let mut response = refuse(status, &text);
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            {
                response.headers_mut().insert(name, value);
            }
        }
        return response;
    }
    play(&shared, request.model, attempt, ops)
}

/// Says the operations as a stream of pieces.
fn play(shared: &Shared, model: String, attempt: u64, ops: Vec<Op>) -> Response {
    let (to, pieces) = mpsc::channel(16);
    let player = Player {
        to,
        stats: shared.stats.clone(),
        model,
        number: shared.numbers.fetch_add(1, Ordering::Relaxed),
        attempt,
    };
    tokio::spawn(player.play(ops));
    let body = Body::from_stream(futures_util::stream::unfold(
        pieces,
        |mut pieces| async move {
            let piece = pieces.recv().await?;
            Some((piece, pieces))
        },
    ));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": "scripted", "code": null}});
    (status, Json(body)).into_response()
}
