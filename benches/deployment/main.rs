//! The figures of the embedded deployment, as tables beside yardsticks of the same run. Nothing here passes or fails;
//! `benches/README.md` says what the rows mean.
//!
//! `just bench-deployment` prints all tables, `just bench-deployment throughput start` some, `--quick` takes fewer
//! samples. The same binary, started as `deployment serve FILE`, is the deployment that is measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints tables, starts processes to measure them, waits, and panics when it cannot go on"
)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod growth;
mod memory;
mod rows;
mod server;
mod start;
mod subscription;
mod throughput;
mod unrelated;
mod window;

use common::Named;

/// Bytes of a row's text: a delta, and a tool's output.
const WEIGHTS: [usize; 2] = [200, 4096];

/// Product and yardsticks take turns so often.
const ROUNDS: u64 = 10;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    pub mutations: u64,
    pub starts: usize,
    pub documents: u64,
    /// The largest table of the growth.
    pub rows: u64,
    pub growth: u64,
    /// Changes of the same rows, a round.
    pub replaced: u64,
    pub changes: u64,
}

const FULL: Samples = Samples {
    mutations: 3_000,
    starts: 30,
    documents: 10_000,
    rows: 100_000,
    growth: 500,
    replaced: 4_000,
    changes: 300,
};

const QUICK: Samples = Samples {
    mutations: 500,
    starts: 5,
    documents: 2_000,
    rows: 10_000,
    growth: 100,
    replaced: 1_000,
    changes: 30,
};

const TABLES: &[Named<Samples>] = &[
    ("throughput", throughput::table),
    ("subscription", subscription::table),
    ("start", start::table),
    ("growth", growth::table),
    ("unrelated", unrelated::table),
    ("window", window::table),
    ("documents", memory::documents),
    ("history", memory::history),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, file] = arguments.as_slice()
        && serve == "serve"
    {
        return server::main(file);
    }
    common::run(TABLES, FULL, QUICK);
}
