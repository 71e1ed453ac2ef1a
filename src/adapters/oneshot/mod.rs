//! An assistant that is a command: given one task, run to its end, gone with all it started. What the commands share is
//! here: a folder of their own, the two limits, the abort, and the tries again ([`run`]). What differs is a [`OneShot`]: the command
//! itself, how its output is read, and what it came to.
//!
//! A command is started again only for what passes by itself, and only while the assistant has used no tool: whatever
//! changed a tree has to be undone first, which is not the runner's to do.

mod folder;
mod run;

pub use folder::Folder;
pub use run::run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_actors::domain::ids::TaskId;
use orchestrator_actors::domain::task::{Class, Failure, Patience};
use orchestrator_actors::ports::tasks::{Assignment, RunReport};

use crate::adapters::process::WardSpec;
use crate::adapters::process::journal::Journal;
use crate::adapters::process::lease::{LeaseSpec, session_lock};
use crate::adapters::process::marker::{Marker, MarkerPrefix, file_key};

/// What every such runner is given.
#[derive(Clone, Debug)]
pub struct Common {
    pub binary: PathBuf,
    pub limits: Limits,
    /// Of the command, for what passes by itself.
    pub patience: Patience,
    /// The supervisor's state folder: the child journal, and what the markers are named after.
    pub state_dir: PathBuf,
    /// Locks, temporary folders, and the assistant's own.
    pub run_dir: PathBuf,
    pub warden: PathBuf,
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Then it is asked to end.
    pub process: Duration,
    /// Then it is ended, counted from the start; later than `process`.
    pub hard: Duration,
    /// From the request of somebody who calls it off to its end.
    pub abort: Duration,
    /// A provider that says nothing for this long is given up, where the assistant has a setting for it.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            process: Duration::from_mins(30),
            hard: Duration::from_secs(30 * 60 + 30),
            abort: Duration::from_secs(2),
            silence: Duration::from_mins(5),
        }
    }
}

pub trait OneShot: Send + Sync {
    /// What is kept of its output.
    type Transcript: Transcript;

    /// For people, and the name of its folder.
    fn name(&self) -> &'static str;

    fn common(&self) -> &Common;

    /// The child, and what of its environment must never be shown.
    fn describe(&self, assignment: &Assignment, folder: &Folder) -> (WardSpec, Vec<String>);

    /// What a run came to that nobody has ended.
    fn verdict(&self, end: &End, transcript: &Self::Transcript) -> Result<RunReport, Failure>;
}

pub trait Transcript: Default + Send {
    fn read_line(&mut self, line: &str);

    /// It has said its last word.
    fn is_complete(&self) -> bool;

    /// A tool was called: the tree may have changed.
    fn has_used_tools(&self) -> bool;

    /// Requests to the model that were answered.
    fn turns(&self) -> u32;
}

/// Whether a line that is no JSON was to be some: long lines reach us without their end.
pub fn is_cut_off(line: &str) -> bool {
    line.trim_start().starts_with('{')
}

/// How the process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// We ended it.
    pub ended_by: Option<EndedBy>,
    /// The end of what it said, without secrets.
    pub last_words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Abort,
    /// Its time was over, and it ended when it was asked to.
    ProcessTimeout,
    /// Its time was over, and it did not.
    HardTimeout,
}

impl End {
    /// What we did is blamed on nobody else, whatever was printed.
    pub fn by_us(&self) -> Option<Failure> {
        let (class, message) = match self.ended_by? {
            EndedBy::Abort => (Class::Aborted, "the run was called off"),
            EndedBy::ProcessTimeout => {
                (Class::ProcessTimeout, "the run took too long and was ended")
            }
            EndedBy::HardTimeout => (
                Class::HardTimeout,
                "the run took too long, did not end when it was asked to, and was killed",
            ),
        };
        Some(Failure::new(class, message))
    }

    /// It ended without a last word.
    pub fn unspoken(&self, name: &str) -> Failure {
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("{name} ended with exit code {code}"),
            (None, Some(signal)) => format!("{name} was ended by signal {signal}"),
            (None, None) => format!("{name} ended"),
        };
        if self.last_words.is_empty() {
            Failure::new(Class::Assistant, how)
        } else {
            Failure::new(Class::Assistant, format!("{how}: {}", self.last_words))
        }
    }
}

/// A task's name among sessions: what a dead supervisor left of it is found and swept under this.
pub fn key_of(task: &TaskId) -> String {
    file_key(&format!("task-{task}"))
}

/// The lock that the warden of the task's assistant holds as long as anything of it lives.
pub fn lock_of(run_dir: &Path, task: &TaskId) -> PathBuf {
    session_lock(&run_dir.join("locks"), &key_of(task))
}

/// Who has folders of runs.
const NAMES: [&str; 2] = ["goose", "opencode"];

/// Removes what the runs of a task have left; only when nothing of its assistant lives.
pub fn sweep_folders(run_dir: &Path, task: &TaskId) {
    Folder::sweep(run_dir, &NAMES, &key_of(task));
}

/// What everything that the assistant started carries in its environment.
pub fn marker_of(state_dir: &Path, task: &TaskId) -> Marker {
    Marker::new(&prefix(state_dir), &key_of(task))
}

/// A child with the session lock, marker, journal and temporary folder of its task; arguments and environment are missing.
pub fn ward(common: &Common, assignment: &Assignment) -> WardSpec {
    let key = key_of(&assignment.task);
    let mut spec = WardSpec::new(&common.warden, &common.binary, &assignment.directory);
    spec.lease = LeaseSpec {
        session: Some(lock_of(&common.run_dir, &assignment.task)),
        directory: None,
    };
    spec.marker = marker_of(&common.state_dir, &assignment.task);
    spec.temporary = Some(common.run_dir.join("tmp").join(&key));
    spec.journal = Some((Journal::in_state_folder(&common.state_dir), key));
    spec
}

fn prefix(state_dir: &Path) -> MarkerPrefix {
    let canonical = state_dir.canonicalize();
    MarkerPrefix::of_state_folder(&canonical.unwrap_or_else(|_| state_dir.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_last_word_says_how_and_what_was_said() {
        let end = End {
            signal: Some(9),
            last_words: "panicked".to_owned(),
            ..End::default()
        };
        assert_eq!(
            end.unspoken("goose").message,
            "goose was ended by signal 9: panicked"
        );
        assert_eq!(end.by_us(), None);
    }
}
