//! `orchestrator completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use crate::cli::exit::Exit;
use crate::cli::globals::App;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub fn execute(self, app: &App, mut definition: clap::Command) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "orchestrator", &mut script);
        app.ui.data(&String::from_utf8_lossy(&script));
        Exit::Ok
    }
}
