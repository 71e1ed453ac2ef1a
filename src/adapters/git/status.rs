//! What `git status` says: the branch, its upstream, what is uncommitted; and whether something is under way in which
//! no task may begin.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use orchestrator_actors::ports::git::{Cleanliness, GitError};

use super::call::Call;
use super::place::{self, Place};
use super::{GitCli, changes, trust};

/// Uncommitted paths that are named.
const SHOWN: usize = 5;

/// The state of one work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `None` when it is detached.
    pub branch: Option<String>,
    /// `None` before the first commit.
    pub commit: Option<String>,
    pub ahead: u64,
    pub behind: u64,
    pub changed: Vec<Changed>,
}

/// One uncommitted path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Two letters as `git status` has them: what the index has, what the work tree has (`??` untracked).
    pub letters: String,
    pub path: OsString,
}

impl Changed {
    pub fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The index does not have what lies in the work tree.
    fn is_to_be_added(&self) -> bool {
        !self.letters.ends_with('.')
    }

    /// A folder in such a list is a repository inside this one.
    fn is_repository(&self) -> bool {
        self.path.as_bytes().ends_with(b"/")
    }
}

impl Status {
    /// The first few uncommitted paths.
    pub fn shown(&self) -> Vec<String> {
        self.changed
            .iter()
            .map(Changed::shown)
            .take(SHOWN)
            .collect()
    }

    /// What the index lacks.
    pub fn to_add(&self) -> Vec<&[u8]> {
        let paths = self.changed.iter().filter(|one| one.is_to_be_added());
        paths.map(|one| one.path.as_bytes()).collect()
    }

    /// Repositories inside this one that it does not know.
    pub fn repositories(&self) -> Vec<OsString> {
        let inside = self.changed.iter().filter(|one| one.is_repository());
        inside.map(|one| one.path.clone()).collect()
    }

    /// Files that the index lacks, the first few of them.
    pub fn not_added(&self) -> Vec<String> {
        let files = |one: &&Changed| one.is_to_be_added() && !one.is_repository();
        let files = self.changed.iter().filter(files).map(Changed::shown);
        files.take(SHOWN).collect()
    }
}

pub async fn is_clean(git: &GitCli) -> Result<Cleanliness, GitError> {
    let place = place::find(git).await?;
    trust::check(git, &place).await?;
    let status = read(git, &place).await?;
    if status.commit.is_none() {
        return Err(GitError::NoCommits);
    }
    if let Some(what) = under_way(&place) {
        return Err(GitError::InProgress(what));
    }
    if status.branch.is_none() {
        let at = status.commit.unwrap_or_default();
        return Err(GitError::Detached(at.chars().take(10).collect()));
    }
    changes::check_identity(git, &place).await?;
    if matches!(git.config.isolation, super::Isolation::Worktree(_)) {
        // The task gets a tree of its own, made of the commit: what lies about in this one is in nobody's way.
        return Ok(Cleanliness::default());
    }
    let in_sync = git.config.in_sync;
    Ok(Cleanliness {
        changed: status.shown(),
        changed_count: status.changed.len(),
        ahead: if in_sync { status.ahead } else { 0 },
        behind: if in_sync { status.behind } else { 0 },
    })
}

pub async fn read(git: &GitCli, place: &Place) -> Result<Status, GitError> {
    read_by(Call::at(git, place)).await
}

/// With the settings that the call brings along: it may start filters.
pub async fn read_by(call: Call<'_>) -> Result<Status, GitError> {
    let asked = [
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        "--ignore-submodules=dirty",
    ];
    let finished = call.reading().run(asked).await?;
    Ok(parse(&finished.stdout))
}

/// Of bytes, because a path need not be text.
fn parse(text: &[u8]) -> Status {
    let mut status = Status::default();
    let mut entries = text
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty());
    while let Some(entry) = entries.next() {
        if let Some(header) = entry.strip_prefix(b"# ") {
            read_header(&mut status, &String::from_utf8_lossy(header));
            continue;
        }
        let mut parts = entry.splitn(2, |byte| *byte == b' ');
        let (kind, rest) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        // The number of fields before the path, by kind.
        let fields = match kind {
            b"1" => 8,
            b"2" => {
                // Followed by the path it was renamed from.
                entries.next();
                9
            }
            b"u" => 10,
            _ => 1,
        };
        let is_space = |byte: &u8| *byte == b' ';
        let path = rest.splitn(fields, is_space).last().unwrap_or_default();
        let letters = match kind {
            b"1" | b"2" | b"u" => rest.split(is_space).next().unwrap_or_default(),
            _ => b"??",
        };
        status.changed.push(Changed {
            letters: String::from_utf8_lossy(letters).into_owned(),
            path: OsStr::from_bytes(path).to_owned(),
        });
    }
    status
}

fn read_header(status: &mut Status, header: &str) {
    let (name, value) = header.split_once(' ').unwrap_or((header, ""));
    match name {
        "branch.oid" if value != "(initial)" => status.commit = Some(value.to_owned()),
        "branch.head" if value != "(detached)" => status.branch = Some(value.to_owned()),
        "branch.ab" => {
            let mut counts = value.split(' ').filter_map(|count| count[1..].parse().ok());
            status.ahead = counts.next().unwrap_or(0);
            status.behind = counts.next().unwrap_or(0);
        }
        _ => {}
    }
}

/// An operation that waits for its user, by the files it leaves.
fn under_way(place: &Place) -> Option<&'static str> {
    [
        ("rebase-merge", "rebase"),
        ("rebase-apply", "rebase"),
        ("MERGE_HEAD", "merge"),
        ("CHERRY_PICK_HEAD", "cherry-pick"),
        ("REVERT_HEAD", "revert"),
        ("BISECT_LOG", "bisect"),
    ]
    .into_iter()
    .find(|(file, _)| place.git_dir.join(file).exists())
    .map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn porcelain_is_read_with_odd_paths() {
        let text = "# branch.oid abc\0# branch.head main\0# branch.upstream origin/main\0# branch.ab +2 -3\0\
            1 .M N... 100644 100644 100644 aaa bbb with space.txt\0\
            2 R. N... 100644 100644 100644 aaa bbb R100 new name\0old name\0\
            u UU N... 100644 100644 100644 100644 a b c both.txt\0? new\nline.txt\0";
        let status = parse(text.as_bytes());
        let entry = |letters: &str, path: &str| Changed {
            letters: letters.to_owned(),
            path: path.into(),
        };
        assert_eq!(
            status,
            Status {
                branch: Some("main".to_owned()),
                commit: Some("abc".to_owned()),
                ahead: 2,
                behind: 3,
                changed: vec![
                    entry(".M", "with space.txt"),
                    entry("R.", "new name"),
                    entry("UU", "both.txt"),
                    entry("??", "new\nline.txt"),
                ],
            }
        );
    }

    #[test]
    fn only_what_the_index_lacks_is_added_and_its_name_is_kept_to_the_byte() {
        let status = parse(
            b"1 D. N... 100644 000000 000000 a b gone\x001 AD N... 0 0 0 a b added\0? \xff.txt\0? theirs/\0",
        );
        assert_eq!(status.to_add(), [&b"added"[..], b"\xff.txt", b"theirs/"]);
        assert_eq!(status.not_added(), ["added", "\u{fffd}.txt"]);
    }

    #[test]
    fn an_unborn_and_a_detached_head_are_none() {
        let status = parse(b"# branch.oid (initial)\0# branch.head (detached)\0");
        assert_eq!((status.branch, status.commit), (None, None));
    }
}
