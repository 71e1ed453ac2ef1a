//! What a commit costs when others watch what it does not touch: two deployments side by side, one of them with a
//! thousand subscriptions to other rows, written to in turns.

use std::ops::Range;
use std::time::{Duration, Instant};

use orchestrator::adapters::convex::connection::Watching;
use serde_json::json;

use crate::Samples;
use crate::client::{Client, row};
use crate::common::memory::Meter;
use crate::common::table::{Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;

const WATCHED: usize = 1000;
/// Commits to one before it is the other's turn.
const TURN: u64 = 20;

const COLUMNS: [&str; 5] = [
    "p50 ms",
    "p99 ms",
    "max ms",
    "samples",
    "server's processor µs",
];

/// A deployment and what a mutation on it took.
struct Side {
    server: Server,
    client: Client,
    times: Times,
    processor: Duration,
}

impl Side {
    fn new(server: Server) -> Self {
        Self {
            client: Client::connect(server.url()),
            server,
            times: Times::new(),
            processor: Duration::ZERO,
        }
    }

    async fn commit(&mut self, rows: Range<u64>) {
        let mut meter = Meter::of(self.server.pid());
        for seq in rows {
            let sent = Instant::now();
            let row = row("written", seq, yardstick::WEIGHT);
            self.client.call("rows:add", row).await;
            self.times.add(sent.elapsed());
        }
        self.processor += meter.since();
    }

    fn cells(&self) -> Vec<String> {
        let each = self.processor.as_secs_f64() * 1e6 / self.times.len() as f64;
        let mut cells = self.times.cells();
        cells.push(format!("{each:.0}"));
        cells
    }
}

pub fn table(samples: Samples) {
    let [alone, watched] = common::runtime().block_on(async {
        let mut sides = [Server::start(), Server::start()].map(Side::new);
        let reader = Client::connect(sides[1].server.url());
        let _watching = watch(&reader).await;
        for first in (0..samples.mutations).step_by(TURN as usize) {
            for side in &mut sides {
                side.commit(first..first + TURN).await;
            }
        }
        sides
    });
    let folder = files::folder();
    let (inserts, _) =
        yardstick::sqlite_commits(folder.path(), yardstick::WEIGHT, samples.mutations, 0);
    let mut table = Table::new("A mutation, and who else watches", &COLUMNS);
    table.row("no subscriptions", alone.cells());
    let name = format!("{WATCHED} subscriptions to other rows");
    table.row(&name, watched.cells());
    table.row("yardstick: bare SQLite insert, synced", inserts.cells());
    table.print();
    println!(
        "ratio of the medians: {:.2}; of the server's processor time: {:.2}",
        watched.times.median() as f64 / alone.times.median() as f64,
        watched.processor.as_secs_f64() / alone.processor.as_secs_f64(),
    );
}

async fn watch(reader: &Client) -> Vec<Watching> {
    let windows = (0..WATCHED).map(|seq| {
        let args = json!({ "stream": "watched", "from": seq as f64, "to": (seq + 1) as f64 });
        reader.watch("rows:window", args)
    });
    let mut watching: Vec<_> = windows.collect();
    for window in &mut watching {
        window.next().await.expect("a result").expect("rows");
    }
    watching
}
