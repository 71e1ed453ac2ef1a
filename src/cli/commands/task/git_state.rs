//! `orchestrator task git-state`: a repository as a task would find it, and whether one could begin. Needs no deployment and
//! changes nothing.

use std::path::PathBuf;

use clap::Args;
use orchestrator_actors::ports::git::{Git, GitError, StateDump};
use serde_json::json;

use super::repository;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::ui::format::{plural, printable};

/// Show a repository's state: branches, last commits, changes, and what keeps a task from beginning
#[derive(Debug, Args)]
pub struct GitState {
    /// The directory [default: this one]
    directory: Option<PathBuf>,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl GitState {
    pub async fn execute(self, app: &App) -> Result<Exit, Failure> {
        let named = self.directory.unwrap_or_else(|| PathBuf::from("."));
        let directory = std::path::absolute(&named)
            .map_err(|error| Failure::usage(format!("{}: {error}", named.display())))?;
        let git = repository::at(app, &directory)?;
        // First, because it refuses a repository that brings programs along: looking would run them.
        let obstacle = match git.is_clean().await {
            Err(error @ GitError::Untrusted(_)) => return Err(error.into()),
            Ok(cleanliness) => cleanliness.obstacle(),
            Err(error) => Some(error.to_string()),
        };
        let state = git.dump_state(directory.display().to_string()).await?;
        let locked = state.locked.clone().map(GitError::Locked);
        let obstacle = obstacle.or_else(|| locked.map(|error| error.to_string()));
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "state": state, "obstacle": obstacle}));
        } else {
            app.ui.foreign(&text(&state, obstacle.as_deref()));
        }
        Ok(Exit::Ok)
    }
}

fn text(state: &StateDump, obstacle: Option<&str>) -> String {
    let mut lines = vec![
        format!("repository  {}", printable(&state.label)),
        format!(
            "branch      {}",
            state.branch.as_deref().unwrap_or("none (detached HEAD)")
        ),
        format!(
            "commit      {}",
            state.commit.as_deref().unwrap_or("none yet")
        ),
        match obstacle {
            None => "a task      can begin".to_owned(),
            Some(why) => format!("a task      cannot begin: {}", printable(why)),
        },
    ];
    let mut section = |title: String, inner: Vec<String>| {
        lines.push(String::new());
        lines.push(title);
        lines.extend(inner.iter().map(|line| format!("  {}", printable(line))));
    };
    if state.changed_count > 0 {
        let mut changed = state.changed.clone();
        if state.changed_count > changed.len() {
            changed.push(format!("and {} more", state.changed_count - changed.len()));
        }
        section(
            format!("{} not committed", plural(state.changed_count, "path")),
            changed,
        );
    }
    if !state.branches.is_empty() {
        let width = state
            .branches
            .iter()
            .map(|(name, _)| name.chars().count())
            .max();
        let width = width.unwrap_or(0);
        let branches = state.branches.iter();
        let branches = branches
            .map(|(name, tip)| format!("{name:<width$}  {tip}"))
            .collect();
        section("branches".to_owned(), branches);
    }
    if !state.log.is_empty() {
        section(
            "last commits".to_owned(),
            state.log.lines().map(str::to_owned).collect(),
        );
    }
    if !state.files.is_empty() {
        section("files".to_owned(), state.files.clone());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_shown_and_no_file_writes_to_the_terminal() {
        let state = StateDump {
            locked: None,
            label: "/home/me/shop".to_owned(),
            branch: None,
            commit: None,
            branches: Vec::new(),
            log: String::new(),
            changed: vec!["?? \u{1b}[2Jx".to_owned()],
            changed_count: 3,
            files: Vec::new(),
        };
        assert_eq!(
            text(&state, Some("the repository has no commit yet")),
            "repository  /home/me/shop\nbranch      none (detached HEAD)\ncommit      none yet\n\
             a task      cannot begin: the repository has no commit yet\n\n3 paths not committed\n  \
             ?? \u{fffd}[2Jx\n  and 2 more\n"
        );
    }
}
