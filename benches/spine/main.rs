//! The figures of the product, as tables: each beside a yardstick of the same run on the same machine, because a
//! millisecond means nothing alone. Nothing here passes or fails; `benches/README.md` says what the rows mean.
//!
//! `just bench` prints all tables, `just bench latency memory` some, `just bench --quick` all with fewer samples.
//! The same binary, started as `spine serve …`, is the scripted OpenCode that the tables run against.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints tables, starts processes to measure them, paces itself, and panics when it cannot go on"
)]

#[path = "../common/mod.rs"]
mod common;
mod dead;
mod fake_agents;
mod fake_opencode;
mod far;
mod latency;
mod many;
mod memory;
mod outage;
mod package;
mod probe;
mod reader;
mod restart;
mod rig;
mod slow;
mod stalled;
mod start;
mod tasks;
mod throughput;

use common::Named;

/// The binary that is measured.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    /// Deltas of the latency table.
    pub paced: u64,
    /// Deltas of the throughput table.
    pub flat: u64,
    pub starts: usize,
    pub panics: usize,
    pub messages: usize,
}

const FULL: Samples = Samples {
    paced: 2_000,
    flat: 20_000,
    starts: 15,
    panics: 100,
    messages: 1_000,
};

const QUICK: Samples = Samples {
    paced: 300,
    flat: 4_000,
    starts: 3,
    panics: 10,
    messages: 60,
};

const TABLES: &[Named<Samples>] = &[
    ("latency", latency::table),
    ("throughput", throughput::table),
    ("start", start::table),
    ("restart", restart::table),
    ("memory", memory::table),
    ("many", many::table),
    ("slow", slow::table),
    ("stalled", stalled::table),
    ("dead", dead::table),
    ("outage", outage::table),
    ("tasks", tasks::table),
];

fn main() {
    if std::env::args()
        .nth(1)
        .is_some_and(|first| first == "serve")
    {
        return fake_opencode::main();
    }
    common::run(TABLES, FULL, QUICK);
}
