//! The state of a repository for people: what a report or a bug report needs, and nothing that is large.

use std::fs;

use orchestrator_actors::ports::git::{GitError, StateDump};

use super::GitCli;
use super::call::Call;
use super::place::{self, Place};
use super::status;

const BRANCHES: usize = 100;
const FILES: usize = 10;
const CHANGED: usize = 50;

fn lock_in(place: &Place) -> Option<String> {
    let lock = place.git_dir.join("index.lock");
    lock.exists().then(|| lock.display().to_string())
}

pub async fn dump(git: &GitCli, label: String) -> Result<StateDump, GitError> {
    let place = place::find(git).await?;
    let now = status::read(git, &place).await?;
    let listed = [
        "for-each-ref",
        "--sort=refname",
        "--format=%(refname:short)%00%(objectname:short) %(contents:subject)",
        "refs/heads",
    ];
    let listed = Call::at(git, &place).reading().run(listed).await?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let branches = listed
        .lines()
        .filter_map(|line| line.split_once('\0'))
        .take(BRANCHES)
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .collect();
    // Before the first commit there is no log.
    let log = Call::at(git, &place)
        .reading()
        .try_run([
            "log",
            "--oneline",
            "--graph",
            "--branches",
            "-10",
            "--no-decorate",
        ])
        .await?;
    let mut files: Vec<String> = fs::read_dir(&git.config.directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".git")
        .collect();
    files.sort();
    files.truncate(FILES);
    Ok(StateDump {
        label,
        branch: now.branch,
        commit: now.commit,
        locked: lock_in(&place),
        branches,
        log: String::from_utf8_lossy(&log.stdout).trim_end().to_owned(),
        changed_count: now.changed.len(),
        changed: now
            .changed
            .into_iter()
            .take(CHANGED)
            .map(|one| format!("{} {}", one.letters, one.shown()))
            .collect(),
        files,
    })
}
