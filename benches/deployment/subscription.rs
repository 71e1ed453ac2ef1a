//! From a mutation's sending to another client's subscription: two sockets, the next mutation when the last was seen.
//! Yardsticks in turns with it.

use std::time::{Duration, Instant};

use orchestrator::adapters::convex::connection::Watching;
use serde_json::json;

use crate::client::{Client, row};
use crate::common::table::{TIMES, Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;
use crate::{ROUNDS, Samples, WEIGHTS};

pub fn table(samples: Samples) {
    let title = "A mutation, until another client's subscription shows it";
    let mut table = Table::new(title, &TIMES);
    let (mut echoes, mut inserts) = (Times::new(), Times::new());
    for weight in WEIGHTS {
        let seen = common::runtime().block_on(async {
            let server = Server::start();
            let (writer, reader) = (Client::connect(server.url()), Client::connect(server.url()));
            let mut latest = reader.watch("rows:latest", json!({ "stream": "s" }));
            shown(&mut latest, -1.0).await;
            let mut echo = yardstick::Echo::start().await;
            let folder = files::folder();
            let each = samples.mutations / ROUNDS;
            let mut seen = Times::new();
            for round in 0..ROUNDS {
                for _ in 0..each {
                    echoes.add(echo.round_trip(weight).await);
                }
                let (times, _) = yardstick::sqlite_commits(folder.path(), weight, each, 0);
                inserts.merge(&times);
                for seq in round * each..(round + 1) * each {
                    seen.add(commit_and_see(&writer, &mut latest, seq, weight).await);
                }
            }
            seen
        });
        table.row(&format!("{weight} bytes, committed and seen"), seen.cells());
    }
    table.row("yardstick: echo over a loopback WebSocket", echoes.cells());
    table.row("yardstick: bare SQLite insert, synced", inserts.cells());
    table.print();
}

async fn commit_and_see(
    writer: &Client,
    latest: &mut Watching,
    seq: u64,
    weight: usize,
) -> Duration {
    let sent = Instant::now();
    let answer = writer.begin("rows:add", row("s", seq, weight));
    shown(latest, seq as f64).await;
    let took = sent.elapsed();
    let answer = answer.await.expect("the client is there");
    answer.expect("a success");
    took
}

async fn shown(latest: &mut Watching, seq: f64) {
    while latest.next().await.expect("a result").expect("a number") != seq {}
}
