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

mod dead;
mod fake_agents;
mod fake_opencode;
mod far;
mod files;
mod latency;
mod memory;
mod outage;
mod probe;
mod reader;
mod restart;
mod rig;
mod slow;
mod stalled;
mod stamps;
mod start;
mod table;
mod throughput;
mod yardstick;

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

type Table = (&'static str, fn(Samples));

const TABLES: &[Table] = &[
    ("latency", latency::table),
    ("throughput", throughput::table),
    ("start", start::table),
    ("restart", restart::table),
    ("memory", memory::table),
    ("slow", slow::table),
    ("stalled", stalled::table),
    ("dead", dead::table),
    ("outage", outage::table),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return fake_opencode::main();
    }
    // Cargo itself passes `--bench`.
    let (flags, names): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.starts_with("--"));
    let samples = if flags.iter().any(|flag| *flag == "--quick") {
        QUICK
    } else {
        FULL
    };
    let known = |name: &str| TABLES.iter().any(|(table, _)| *table == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = TABLES.iter().map(|(name, _)| *name).collect();
        println!("no table `{unknown}`; there are: {}", all.join(", "));
        std::process::exit(2);
    }
    table::header();
    for (name, print) in TABLES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            print(samples);
        }
    }
}

/// A runtime like the product's own.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
