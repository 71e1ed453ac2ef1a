//! What the deployment's process holds: idle, with documents, and after a history of changes to the same few rows.

use std::time::Duration;

use crate::Samples;
use crate::client::{Client, row};
use crate::common::memory::{MEMORY, held};
use crate::common::table::Table;
use crate::common::{self, yardstick};
use crate::server::Server;

/// After what was measured is done, so that buffers of it are gone.
const QUIET: Duration = Duration::from_secs(1);
/// Rows that are replaced over and over.
const SAME: u64 = 100;
const ROUNDS: u64 = 5;

pub fn documents(samples: Samples) {
    let mut table = Table::new("Memory of the deployment's process, MB", &MEMORY);
    let server = Server::start();
    table.row("yardstick: without documents or clients", settled(&server));
    common::runtime().block_on(async {
        let client = Client::connect(server.url());
        let rows = (0..samples.documents).map(|seq| row("s", seq, yardstick::WEIGHT));
        client.pipelined("rows:add", rows).await;
    });
    let rows = samples.documents;
    table.row(
        &format!("{rows} documents written, a mutation each"),
        settled(&server),
    );
    table.print();
}

pub fn history(samples: Samples) {
    let columns: Vec<&str> = MEMORY.into_iter().chain(["file", "its log"]).collect();
    let mut table = Table::new(
        &format!("The same {SAME} rows replaced again and again, MB"),
        &columns,
    );
    let server = Server::start();
    common::runtime().block_on(async {
        let client = Client::connect(server.url());
        let rows = (0..SAME).map(|seq| row("s", seq, yardstick::WEIGHT));
        client.pipelined("rows:add", rows).await;
        for round in 0..=ROUNDS {
            if round > 0 {
                let rows = (0..samples.replaced).map(|n| row("s", n % SAME, yardstick::WEIGHT));
                client.pipelined("rows:replace", rows).await;
            }
            let name = format!("after {} mutations", round * samples.replaced);
            let (file, log) = server.file_sizes();
            let sizes = [file, log].map(|bytes| format!("{:.1}", bytes as f64 / 1e6));
            table.row(&name, settled(&server).into_iter().chain(sizes).collect());
        }
    });
    table.print();
    println!("the file grows by the records of answered mutations, which are kept for 14 days");
}

fn settled(server: &Server) -> Vec<String> {
    std::thread::sleep(QUIET);
    held(server.pid())
}
