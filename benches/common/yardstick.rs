//! What the figures are held against: the same kind of work with nothing of ours in between.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::{SinkExt, StreamExt};
use rusqlite::Connection;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::task::AbortOnDropHandle;

use super::stamps;
use super::table::Times;

/// About what one delta weighs as an item of an append.
pub const WEIGHT: usize = 200;

/// Round trips over a loopback WebSocket, at this pace.
pub async fn websocket_echo(samples: u64, rate: u32) -> Times {
    let mut echo = Echo::start().await;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut times = Times::new();
    for _ in 0..samples {
        pace.tick().await;
        times.add(echo.round_trip(WEIGHT).await);
    }
    times
}

/// An echo over a loopback WebSocket of the deployment's kind (axum and tungstenite, TCP_NODELAY).
pub struct Echo {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    _server: AbortOnDropHandle<()>,
}

impl Echo {
    pub async fn start() -> Self {
        let echo = |upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("ws://{}/", listener.local_addr().expect("an address"));
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().route("/", get(echo))).await;
        });
        let (socket, _) = connect_async_with_config(url, None, true)
            .await
            .expect("a socket");
        Self {
            socket,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// There and back.
    pub async fn round_trip(&mut self, weight: usize) -> Duration {
        let begun = stamps::now_ns();
        self.say(weight).await;
        self.hear().await;
        Duration::from_nanos(stamps::now_ns() - begun)
    }

    /// How long so many take with so many under way.
    pub async fn pipelined(&mut self, samples: u64, under_way: u64, weight: usize) -> Duration {
        let begun = Instant::now();
        for sent in 0..samples + under_way {
            if sent < samples {
                self.say(weight).await;
            }
            if sent >= under_way {
                self.hear().await;
            }
        }
        begun.elapsed()
    }

    async fn say(&mut self, weight: usize) {
        let message = Message::text("x".repeat(weight));
        self.socket.send(message).await.expect("a send");
    }

    async fn hear(&mut self) {
        self.socket.next().await.expect("an echo").expect("an echo");
    }
}

/// Single-row commits by SQLite alone, with the deployment's settings (WAL, `synchronous=FULL`) in such a folder as the
/// deployment's. `rate` 0 is flat out. Also gives how long all of them took.
pub fn sqlite_commits(folder: &Path, weight: usize, samples: u64, rate: u32) -> (Times, Duration) {
    let database = sqlite(&folder.join("yardstick.sqlite3"));
    database
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
        )
        .expect("a table");
    let body = "x".repeat(weight);
    let mut insert = database
        .prepare("INSERT INTO rows (body) VALUES (?1)")
        .expect("a statement");
    let mut times = Times::new();
    let all = Instant::now();
    for _ in 0..samples {
        if rate > 0 {
            std::thread::sleep(Duration::from_secs(1) / rate);
        }
        let begun = Instant::now();
        insert.execute([&body]).expect("a row");
        times.add(begun.elapsed());
    }
    (times, all.elapsed())
}

/// A database with the deployment's settings.
pub fn sqlite(path: &Path) -> Connection {
    let database = Connection::open(path).expect("a database");
    database
        .pragma_update(None, "locking_mode", "EXCLUSIVE")
        .expect("a setting");
    database
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .expect("a setting");
    database
        .pragma_update(None, "synchronous", "FULL")
        .expect("a setting");
    database
}
