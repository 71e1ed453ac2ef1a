//! What a commit costs when others watch what it does not touch: two deployments side by side, one of them with a
//! thousand subscriptions to other rows, written to in turns.

use std::time::Instant;

use orchestrator::adapters::convex::connection::Watching;
use serde_json::json;

use crate::Samples;
use crate::client::{Client, row};
use crate::common::table::{TIMES, Table, Times};
use crate::common::{self, files, yardstick};
use crate::server::Server;

const WATCHED: usize = 1000;
/// Commits to one before it is the other's turn.
const TURN: u64 = 50;

pub fn table(samples: Samples) {
    let (alone, watched) = (Server::start(), Server::start());
    let (without, with) = common::runtime().block_on(async {
        let reader = Client::connect(watched.url());
        let _watching = watch(&reader).await;
        let clients = [Client::connect(alone.url()), Client::connect(watched.url())];
        let mut times = [Times::new(), Times::new()];
        for first in (0..samples.mutations).step_by(TURN as usize) {
            for (client, times) in clients.iter().zip(&mut times) {
                for seq in first..first + TURN {
                    let sent = Instant::now();
                    client
                        .call("rows:add", row("written", seq, yardstick::WEIGHT))
                        .await;
                    times.add(sent.elapsed());
                }
            }
        }
        let [without, with] = times;
        (without, with)
    });
    let folder = files::folder();
    let (inserts, _) =
        yardstick::sqlite_commits(folder.path(), yardstick::WEIGHT, samples.mutations, 0);
    let mut table = Table::new("A mutation, and who else watches", &TIMES);
    table.row("no subscriptions", without.cells());
    table.row(
        &format!("{WATCHED} subscriptions to other rows"),
        with.cells(),
    );
    table.row("yardstick: bare SQLite insert, synced", inserts.cells());
    table.print();
    let ratio = with.median() as f64 / without.median() as f64;
    println!("ratio of the medians: {ratio:.2}");
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
