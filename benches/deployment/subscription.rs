//! From a mutation's sending to another client's subscription: two sockets, the next mutation when the last was seen.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, row};
use crate::common::table::{TIMES, Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;
use crate::{Samples, WEIGHTS};

pub fn table(samples: Samples) {
    let mut table = Table::new(
        "A mutation, until another client's subscription shows it",
        &TIMES,
    );
    let runtime = common::runtime();
    for weight in WEIGHTS {
        let server = Server::start();
        let seen = runtime.block_on(seen(&server, samples.mutations, weight));
        table.row(&format!("{weight} bytes, committed and seen"), seen.cells());
    }
    let echo = runtime.block_on(async {
        let mut echo = yardstick::Echo::start().await;
        let mut times = Times::new();
        for _ in 0..samples.mutations {
            times.add(echo.round_trip(yardstick::WEIGHT).await);
        }
        times
    });
    table.row("yardstick: echo over a loopback WebSocket", echo.cells());
    let folder = files::folder();
    let (inserts, _) =
        yardstick::sqlite_commits(folder.path(), yardstick::WEIGHT, samples.mutations, 0);
    table.row("yardstick: bare SQLite insert, synced", inserts.cells());
    table.print();
}

async fn seen(server: &Server, count: u64, weight: usize) -> Times {
    let (writer, reader) = (Client::connect(server.url()), Client::connect(server.url()));
    let mut latest = reader.watch("rows:latest", json!({ "stream": "s" }));
    latest.next().await.expect("a result").expect("a number");
    let mut times = Times::new();
    for seq in 0..count {
        let sent = Instant::now();
        let answer = writer.begin("rows:add", row("s", seq, weight));
        while latest.next().await.expect("a result").expect("a number") != seq as f64 {}
        times.add(sent.elapsed());
        tokio::time::timeout(Duration::from_secs(30), answer)
            .await
            .expect("in time")
            .expect("the client is there")
            .expect("a success");
    }
    times
}
