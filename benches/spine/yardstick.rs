//! What the figures are held against: the same kind of work with nothing of ours in between.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::{SinkExt, StreamExt};
use rusqlite::Connection;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;

use crate::stamps;
use crate::table::Times;

/// About what one delta weighs as an item of an append.
const WEIGHT: usize = 200;

/// Round trips over a loopback WebSocket of the same kind (axum and tungstenite, TCP_NODELAY), at this pace.
pub async fn websocket_echo(samples: u64, rate: u32) -> Times {
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
    let (mut socket, _) = connect_async_with_config(url, None, true)
        .await
        .expect("a socket");
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut times = Times::new();
    let text = "x".repeat(WEIGHT);
    for _ in 0..samples {
        pace.tick().await;
        let begun = stamps::now_ns();
        socket
            .send(Message::text(text.clone()))
            .await
            .expect("a send");
        socket.next().await.expect("an echo").expect("an echo");
        times.add_ns(stamps::now_ns() - begun);
    }
    server.abort();
    times
}

/// Single-row commits by SQLite alone, with the deployment's settings (WAL, `synchronous=FULL`) in such a folder as the
/// deployment's. `rate` 0 is flat out. Also gives how long all of them took.
pub fn sqlite_commits(folder: &Path, samples: u64, rate: u32) -> (Times, Duration) {
    let database = Connection::open(folder.join("yardstick.sqlite3")).expect("a database");
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
        .execute_batch("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        .expect("a table");
    let body = "x".repeat(WEIGHT);
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
