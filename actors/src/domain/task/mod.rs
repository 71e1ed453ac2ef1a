//! What a task is, without a process, a repository or a deployment: how its branch is named, how it can fail and what
//! follows from that, and which phase of its way a restarted loop finds it in. Pure, like all of `domain`.

mod branch;
mod failure;
mod patience;
mod phase;
mod settings;

pub use branch::{BranchChange, BranchName, BranchNameError, CommitId, Isolation, cyrb53};
pub use failure::{Class, Doubt, Failure, saying_what_is_kept};
pub use patience::Patience;
pub use phase::{Entry, Phase, Resume};
pub use settings::{Committer, GitIsolation, GitSettings, GooseSettings, RunnerKind, TaskSettings};
