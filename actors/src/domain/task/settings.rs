//! What a person can say about a worker's tasks. A value that is `None` was not said: whoever carries tasks out knows the
//! usual one.

use std::path::PathBuf;

/// Of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSettings {
    /// Without it tasks stay in the queue.
    pub enabled: bool,
    /// `None`: Goose where it can be used, else OpenCode.
    pub runner: Option<RunnerKind>,
    /// Further attempts at a task for which nobody has said how many.
    pub max_retries: Option<u32>,
    /// `None`: nothing was said about Goose at all.
    pub goose: Option<GooseSettings>,
    pub git: GitSettings,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            runner: None,
            max_retries: None,
            goose: None,
            git: GitSettings::default(),
        }
    }
}

/// Who does the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerKind {
    Goose,
    OpenCode,
}

impl RunnerKind {
    pub const ALL: [Self; 2] = [Self::Goose, Self::OpenCode];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goose => "goose",
            Self::OpenCode => "opencode",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GooseSettings {
    pub provider: Option<String>,
    pub model: Option<String>,
    /// Then a run is asked to end, whoever does it.
    pub process_timeout_ms: Option<u64>,
    /// A text that stands before every task.
    pub instructions_file: Option<PathBuf>,
    pub max_turns: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSettings {
    /// Put before a branch's number.
    pub branch_prefix: String,
    /// Who commits; `None`: as git is configured.
    pub user: Option<Committer>,
    pub isolation: GitIsolation,
    /// Whether branches go to the remote.
    pub push: bool,
}

impl Default for GitSettings {
    fn default() -> Self {
        Self {
            branch_prefix: String::new(),
            user: None,
            isolation: GitIsolation::Off,
            push: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    pub name: String,
    pub email: String,
}

/// How far a task's work is kept away from what is the user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GitIsolation {
    /// In the directory, with the user's git configuration.
    #[default]
    Off,
    /// In the directory, without the user's git configuration.
    Config,
    /// In a work tree of the task's own: the directory is not used.
    Worktree,
}

impl GitIsolation {
    pub const ALL: [Self; 3] = [Self::Off, Self::Config, Self::Worktree];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Config => "config",
            Self::Worktree => "worktree",
        }
    }
}
