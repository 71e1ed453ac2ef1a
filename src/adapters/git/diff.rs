//! What a task has changed, in numbers. By plumbing, which knows no external diff and no filter of the repository's.

use orchestrator_actors::domain::task::CommitId;
use orchestrator_actors::ports::git::GitError;
use serde::Serialize;

use super::call::Call;
use super::{GitCli, place};

/// Files that are named.
const FILES: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffStat {
    /// The first of them.
    pub files: Vec<FileStat>,
    /// How many there are.
    pub changed: usize,
    pub added: u64,
    pub removed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileStat {
    pub path: String,
    /// Lines; none of a binary file.
    pub added: Option<u64>,
    pub removed: Option<u64>,
}

impl GitCli {
    /// Between two commits; `None` when one of them is not in the repository.
    pub async fn diff_stat(
        &self,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<Option<DiffStat>, GitError> {
        let place = place::find(self).await?;
        for commit in [from, to] {
            let asked = ["cat-file", "-e", &format!("{}^{{commit}}", commit.as_str())];
            let there = Call::at(self, &place).reading().try_run(asked).await?;
            if !is_id(commit.as_str()) || !there.success() {
                return Ok(None);
            }
        }
        let asked = [
            "diff-tree",
            "-r",
            "-z",
            "--numstat",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            from.as_str(),
            to.as_str(),
        ];
        let finished = Call::at(self, &place).reading().run(asked).await?;
        Ok(Some(parse(&String::from_utf8_lossy(&finished.stdout))))
    }
}

/// What somebody wrote into a deployment is no option and no expression.
fn is_id(text: &str) -> bool {
    (40..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn parse(text: &str) -> DiffStat {
    let mut stat = DiffStat::default();
    for entry in text.split('\0') {
        let mut fields = entry.splitn(3, '\t');
        let (Some(added), Some(removed), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (added, removed) = (added.trim().parse().ok(), removed.parse().ok());
        stat.changed += 1;
        stat.added += added.unwrap_or(0);
        stat.removed += removed.unwrap_or(0);
        if stat.files.len() < FILES {
            let path = path.to_owned();
            stat.files.push(FileStat {
                path,
                added,
                removed,
            });
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_odd_paths_and_binary_files() {
        let stat = parse("3\t1\tsrc/a b.rs\0-\t-\tlogo.png\x0010\t0\ttab\tand\nline\0");
        assert_eq!((stat.changed, stat.added, stat.removed), (3, 13, 1));
        let paths: Vec<&str> = stat.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["src/a b.rs", "logo.png", "tab\tand\nline"]);
        assert_eq!(stat.files[1].added, None);
        assert_eq!(parse(""), DiffStat::default());
    }

    #[test]
    fn what_is_no_commits_id_is_not_handed_to_git() {
        assert!(is_id(&"a1".repeat(20)));
        for text in ["", "HEAD", "--output=/tmp/x", &"z".repeat(40), "abc"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
