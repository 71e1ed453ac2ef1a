//! Chaos: the real OpenCode with the scripted model, several workers and sessions under load, and a seeded schedule of
//! faults. When it is over, the promises are checked from the outside: the deployment's rows and chunks, the
//! model's own count of what it was asked, `/proc`, the lock files, and the deployment's file.
//!
//! A plain main, because it takes arguments and prints a table (`options`). Without any it is a test of half a minute of faults with
//! a fixed seed. `schedule` draws what happens, `inject` does it, `load` is the owner who goes on sending,
//! `account` and `leftovers` are the judges, `figures` and `table` what is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a trial starts real processes, waits for random moments, prints its table, and panics when it cannot go on"
)]

mod account;
mod control;
mod daemon;
mod figures;
mod gauges;
mod inject;
mod leftovers;
mod load;
mod options;
mod owner;
mod phases;
mod probes;
mod prompts;
mod respawn;
mod run;
mod schedule;
mod stage;
mod table;
mod verdict;

use std::process::ExitCode;

use options::{Asked, Options};

/// The binary under test.
const ORCHESTRATOR: &str = env!("CARGO_BIN_EXE_orchestrator");

fn main() -> ExitCode {
    match Options::asked(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => run::run(&options),
        Ok(Asked::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(2)
        }
    }
}
