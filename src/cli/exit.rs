//! The exit codes, all of them. They are documented in the README and in `--help`, and scripts rely on them.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed: all workers failed, a forced stop, a turn that did not complete.
    Failed = 1,
    /// Wrong use: flags, an unknown name, a message that is too large.
    Usage = 2,
    /// The configuration is missing or invalid.
    Config = 3,
    /// No supervisor is running.
    NotRunning = 4,
    /// A supervisor is running already.
    AlreadyRunning = 5,
    /// Refused: identity, approval, ownership.
    Refused = 6,
    /// The deployment cannot be reached.
    Unreachable = 7,
    /// A needed tool is missing: OpenCode, or npm to install it.
    ToolMissing = 8,
    /// What was waited for did not come in time.
    TimedOut = 124,
    /// Ctrl+C.
    Interrupted = 130,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The meaning of another process's exit code, when it has one here.
    pub fn from_code(code: i32) -> Option<Self> {
        const ALL: [Exit; 11] = [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Config,
            Exit::NotRunning,
            Exit::AlreadyRunning,
            Exit::Refused,
            Exit::Unreachable,
            Exit::ToolMissing,
            Exit::TimedOut,
            Exit::Interrupted,
        ];
        ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// For the end of `--help`.
pub const HELP: &str = "\
Exit codes: 0 ok, 1 failed, 2 wrong use, 3 configuration, 4 not running, 5 already running, 6 refused, \
7 deployment unreachable, 8 tool missing, 124 timed out, 130 interrupted";
