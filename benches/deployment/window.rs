//! What travels to a subscriber of a thousand rows when one of them changes, counted on the socket: as one query, and
//! in windows as readers of streams hold them.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::Samples;
use crate::client::{Client, row};
use crate::common::table::{Table, Times, milliseconds};
use crate::common::{self, yardstick};
use crate::server::Server;

const ROWS: u64 = 1000;
const LIMIT: Duration = Duration::from_secs(30);

pub fn table(samples: Samples) {
    let columns = ["first bytes", "bytes a change", "seen p50 ms", "changes"];
    let mut table = Table::new(
        &format!("A subscriber of {ROWS} rows, one of which changes"),
        &columns,
    );
    let server = Server::start();
    common::runtime().block_on(async {
        let writer = Client::connect(server.url());
        let fill =
            json!({ "streams": ["s"], "seqs": ROWS as f64, "text": "x".repeat(yardstick::WEIGHT) });
        writer.call("rows:fill", fill).await;
        for (name, window) in [
            ("in windows of 32", 32),
            ("in one query", ROWS),
            ("yardstick: that row alone", 1),
        ] {
            let all = if window == 1 { 1 } else { ROWS };
            let (mut reader, first) = Reader::subscribe(server.url(), all, window).await;
            let (mut times, mut bytes) = (Times::new(), 0);
            for change in 0..samples.changes {
                let sent = Instant::now();
                let seq = change * 37 % all;
                // A text of its own, or nothing would have changed.
                let mut args = row("s", seq, yardstick::WEIGHT);
                args["text"] = json!(format!(
                    "{window}-{change:.<width$}",
                    width = yardstick::WEIGHT
                ));
                let answer = writer.begin("rows:replace", args);
                bytes += reader.changed().await;
                times.add(sent.elapsed());
                answer
                    .await
                    .expect("the client is there")
                    .expect("a success");
            }
            let cells = [
                first.to_string(),
                (bytes / samples.changes).to_string(),
                milliseconds(times.median()),
                samples.changes.to_string(),
            ];
            table.row(name, cells.to_vec());
        }
    });
    table.print();
}

/// A socket that counts.
struct Reader(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Reader {
    /// Subscribes to rows `0..all` in windows; gives the bytes of their first results.
    async fn subscribe(url: &str, all: u64, window: u64) -> (Self, u64) {
        let url = format!("{}/api/sync", url.replacen("http", "ws", 1));
        let (socket, _) = connect_async_with_config(url, None, true)
            .await
            .expect("a socket");
        let mut reader = Self(socket);
        let queries: Vec<_> = (0..all.div_ceil(window))
            .map(|id| {
                let args = json!({ "stream": "s", "from": (id * window) as f64, "to": ((id + 1) * window) as f64 });
                json!({ "type": "Add", "queryId": id, "udfPath": "rows:window", "args": [args] })
            })
            .collect();
        reader
            .say(
                json!({ "type": "Connect", "sessionId": uuid::Uuid::new_v4(), "connectionCount": 0,
                "lastCloseReason": null, "clientTs": 0 }),
            )
            .await;
        reader
            .say(json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": queries }))
            .await;
        let first = reader.changed().await;
        (reader, first)
    }

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .expect("a send");
    }

    /// The bytes of the next transition that carries results.
    async fn changed(&mut self) -> u64 {
        loop {
            let frame = tokio::time::timeout(LIMIT, self.0.next())
                .await
                .expect("in time");
            let Message::Text(text) = frame.expect("a frame").expect("a frame") else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["modifications"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
            {
                return text.len() as u64;
            }
        }
    }
}
