//! What the benches share: how figures are taken and printed, what they are held against, where a run has its files.
//!
//! Each bench prints tables by name; [`run`] reads the command line that Cargo hands on. Nothing here passes or fails.

#![allow(dead_code, reason = "each bench uses its part of this")]

pub mod files;
pub mod memory;
pub mod stamps;
pub mod table;
pub mod yardstick;

/// A table's name on the command line, and what measures and prints it.
pub type Named<S> = (&'static str, fn(S));

/// Prints the tables that are asked for, or all; `--quick` takes fewer samples.
pub fn run<S: Copy>(tables: &[Named<S>], full: S, quick: S) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo itself passes `--bench`.
    let (flags, names): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.starts_with("--"));
    let is_quick = flags.iter().any(|flag| *flag == "--quick");
    let known = |name: &str| tables.iter().any(|(table, _)| *table == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = tables.iter().map(|(name, _)| *name).collect();
        println!("no table `{unknown}`; there are: {}", all.join(", "));
        std::process::exit(2);
    }
    table::header();
    for (name, print) in tables {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            print(if is_quick { quick } else { full });
        }
    }
}

/// A runtime like the product's own.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
