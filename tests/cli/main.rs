//! The command line as people meet it: help texts, bad input, exit codes. Nothing here needs a deployment or an
//! assistant; what talks to one is in `tests/daemon`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod config;
mod doctor;
mod first;
mod help;
mod identity;
mod machine;
mod not_running;
mod places;
mod requirements;
mod service;
mod start;

use orchestrator_test_support::{Home, Ran};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_orchestrator"))
}

/// Everything that a command said and its exit code, without what differs from run to run.
fn told(home: &Home, ran: &Ran) -> String {
    let root = home.path().display().to_string();
    let real = home.path().canonicalize().unwrap().display().to_string();
    let text = format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        ran.code, ran.stdout, ran.stderr
    );
    text.replace(&real, "[ROOT]").replace(&root, "[ROOT]")
}
