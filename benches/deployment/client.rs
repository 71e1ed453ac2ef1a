//! A client of the benches: the connection of our own link (the official `BaseConvexClient` on a WebSocket), one
//! socket each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestrator::adapters::convex::connection::{Answer, Connection, Settings, Watching};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// The link refuses a thousandth call under way, the deployment the thousandth that waits.
pub const UNDER_WAY: usize = 256;

pub struct Client {
    connection: Arc<Connection>,
    _drive: AbortOnDropHandle<()>,
}

impl Client {
    /// Inside of a runtime.
    pub fn connect(url: &str) -> Self {
        let connection = Connection::new(url, Settings::suited_to(url), None);
        let driven = Arc::clone(&connection);
        let drive =
            tokio::spawn(async move { panic!("the link gave up: {}", driven.drive().await) });
        Self {
            connection,
            _drive: AbortOnDropHandle::new(drive),
        }
    }

    pub async fn call(&self, function: &str, args: Value) -> Value {
        answered(self.begin(function, args)).await
    }

    /// Sends it; its answer may be waited for later.
    pub fn begin(&self, function: &str, args: Value) -> oneshot::Receiver<Answer> {
        self.connection.call(function, args).expect("it is sent")
    }

    /// So many calls with [`UNDER_WAY`] of them on the way at a time.
    pub async fn pipelined(&self, function: &str, calls: impl Iterator<Item = Value>) -> Duration {
        let begun = Instant::now();
        let mut waiting = VecDeque::new();
        for args in calls {
            if waiting.len() == UNDER_WAY {
                answered(waiting.pop_front().expect("it is full")).await;
            }
            waiting.push_back(self.begin(function, args));
        }
        for answer in waiting {
            answered(answer).await;
        }
        begun.elapsed()
    }

    pub fn watch(&self, function: &str, args: Value) -> Watching {
        self.connection.watch(function, args).expect("it is sent")
    }
}

async fn answered(answer: oneshot::Receiver<Answer>) -> Value {
    let answer = answer.await.expect("the client is there");
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// The arguments of `rows:add` and `rows:replace`.
pub fn row(stream: &str, seq: u64, weight: usize) -> Value {
    json!({ "stream": stream, "seq": seq as f64, "text": "x".repeat(weight) })
}
