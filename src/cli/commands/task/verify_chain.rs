//! `orchestrator task verify-chain`: whether the branches of a worker's tasks are the chain that they were made as, by the
//! parents that were recorded with each: the tips alone cannot tell a sibling from a successor.

use std::path::PathBuf;

use clap::Args;
use orchestrator_actors::domain::task::{BranchName, CommitId};
use orchestrator_actors::ports::git::{ChainLink, Git, Relationship, RelationshipKind};
use serde_json::json;

use super::queue::{Queue, typed};
use super::repository;
use super::row::{ArtifactRow, TaskRow};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::resolve::{worker_in, worker_or_default};
use crate::ui::format::{plural, printable};

/// Check that the branches of a worker's tasks follow from one another as they were made (exit 1 if not)
#[derive(Debug, Args)]
pub struct VerifyChain {
    /// The worker's directory, or one below it [default: this one]
    #[arg(conflicts_with = "worker")]
    directory: Option<PathBuf>,

    /// The worker (name or id)
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl VerifyChain {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let worker = match &self.directory {
            Some(directory) => worker_in(connection, directory).await?,
            None => worker_or_default(connection, self.worker.as_deref()).await?,
        };
        let name = worker.label().to_owned();
        let directory = repository::of_worker(app, &worker).ok_or_else(|| {
            Failure::usage(format!(
                "the repository of worker {name} is not on this machine: {} on machine {}",
                worker.directory, worker.machine_id
            ))
        })?;
        let git = repository::at(app, &directory)?;
        let rows = typed(Queue::Worker(worker).all(connection).await?)?;
        let found = git.verify_chain(links(rows)?).await?;
        let broken = found
            .iter()
            .filter(|one| one.kind == RelationshipKind::Diverged)
            .count();
        if self.json {
            app.ui
                .json(&json!({"schema": 1, "chains": broken == 0, "relationships": found}));
        } else {
            for one in &found {
                app.ui.line(line(one));
            }
        }
        if broken > 0 {
            if self.json {
                return Ok(Exit::Failed);
            }
            return Err(Failure::failed(format!(
                "{} of {} not what was recorded",
                broken,
                plural(found.len(), "branch").replace("branchs", "branches")
            )));
        }
        app.ui.say(match found.len() {
            0 => format!("no task of {name} has made a branch yet"),
            1 => "the branch is as it was recorded".to_owned(),
            many => format!("all {many} branches are as they were recorded"),
        });
        Ok(Exit::Ok)
    }
}

/// In the order they were made, which is not that of the queue when a task was tried again.
fn links(mut rows: Vec<TaskRow>) -> Result<Vec<ChainLink>, Failure> {
    rows.retain(|row| row.artifact.is_some());
    rows.sort_by(|a, b| {
        let at = |row: &TaskRow| row.finished_at.unwrap_or_default();
        at(a).total_cmp(&at(b))
    });
    let made = rows.into_iter().filter_map(|row| row.artifact);
    made.map(|made| link(&made)).collect()
}

fn link(made: &ArtifactRow) -> Result<ChainLink, Failure> {
    let branch = |name: &str| {
        BranchName::new(name).map_err(|error| {
            Failure::failed(format!("the deployment has a branch that is none: {error}"))
        })
    };
    Ok(ChainLink {
        branch: branch(&made.branch)?,
        previous: branch(&made.previous)?,
        base: commit(&made.base)?,
        commit: commit(&made.commit)?,
    })
}

/// What was recorded goes to git as an argument: only what is a commit's id does.
fn commit(id: &str) -> Result<CommitId, Failure> {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Failure::failed(format!(
            "the deployment has a commit that is none: `{id}`"
        )));
    }
    Ok(CommitId::new(id))
}

fn line(one: &Relationship) -> String {
    let sign = match one.kind {
        RelationshipKind::Chains => "ok      ",
        RelationshipKind::Diverged => "diverged",
    };
    let why = one
        .why
        .as_deref()
        .map(|why| format!("  {why}"))
        .unwrap_or_default();
    printable(&format!("{sign}  {} <- {}{why}", one.to, one.from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn links_come_in_the_order_they_were_made_and_only_ids_reach_git() {
        let made = |branch: &str, base: &str| json!({"branch": branch, "previous": "main", "base": base, "commit": "ab12", "pushed": true});
        let rows = vec![
            row(&json!({"state": "done", "finishedAt": 20, "artifact": made("2", "ab")})),
            row(&json!({"seq": 1, "state": "done", "finishedAt": 10, "artifact": made("1", "cd")})),
            row(&json!({"seq": 2})),
        ];
        let found = links(rows).unwrap();
        let names: Vec<&str> = found.iter().map(|link| link.branch.as_str()).collect();
        assert_eq!(names, ["1", "2"]);
        for (branch, base) in [("--force", "ab"), ("1", "--all"), ("1", "HEAD")] {
            let rows = vec![row(&json!({"artifact": made(branch, base)}))];
            assert!(links(rows).is_err());
        }
    }
}
