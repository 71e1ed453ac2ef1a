//! `orchestrator man`: manual pages, made from the same definition as the help.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man as Page;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::unknown;
use crate::ui::format::plural;

/// Print a manual page, or write all of them to a folder
#[derive(Debug, Args)]
pub struct Man {
    /// Of which command; without one of the program
    command: Vec<String>,

    /// Write one page for every command into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl Man {
    pub fn execute(self, app: &App, mut definition: clap::Command) -> Result<Exit, Failure> {
        // Names the commands below by their whole path.
        definition.build();
        if let Some(folder) = &self.dir {
            std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            let pages = write_all(folder, &definition)?;
            let told = plural(pages, "page");
            app.ui.say(format!("wrote {told} to {}", folder.display()));
            return Ok(Exit::Ok);
        }
        let mut found = &definition;
        for name in &self.command {
            found = found.find_subcommand(name).ok_or_else(|| {
                let names = visible(found).map(|one| one.get_name().to_owned());
                unknown("command", name, names.collect())
            })?;
        }
        app.ui.data(&String::from_utf8_lossy(&render(found)?));
        Ok(Exit::Ok)
    }
}

fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let all = command.get_subcommands();
    all.filter(|one| !one.is_hide_set() && one.get_name() != "help")
}

fn render(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    Page::new(command.clone())
        .render(&mut text)
        .map_err(|error| Failure::failed(format!("cannot make the page: {error}")))?;
    Ok(text)
}

/// How many were written.
fn write_all(folder: &Path, command: &clap::Command) -> Result<usize, Failure> {
    let path = folder.join(Page::new(command.clone()).get_filename());
    std::fs::write(&path, render(command)?).map_err(|error| failed(&path, &error))?;
    visible(command).try_fold(1, |pages, one| Ok(pages + write_all(folder, one)?))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}
