//! What supervisor and warden say to each other over the lifeline, one JSON object a line. The spec goes this
//! way and never over argv, because it holds the child's environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lease::{Held, LeaseSpec};

/// The first line to a warden: what to start, and under which rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub lease: LeaseSpec,
    pub marker: String,
    /// The session's folder for private temporary folders. What an earlier child left in it is removed.
    pub temporary: Option<PathBuf>,
    /// What the child reads from its stdin; without it there is nothing to read.
    pub stdin: Option<String>,
    /// The journal's folder: a warden takes its child out of it when the supervisor cannot, because it has gone first.
    pub journal: Option<PathBuf>,
    /// Between TERM and KILL once the lifeline is lost.
    pub lost_term_ms: u64,
}

/// Any later line to a warden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The planned stop.
    Stop { term_ms: u64 },
}

/// A line from a warden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Somebody else holds a lock. The warden ends.
    Busy(Held),
    /// The child could not be started. The warden ends.
    Failed {
        message: String,
        /// The machine had too little of something; later it may work.
        shortage: bool,
    },
    /// The child runs.
    Started {
        pid: u32,
        start_time: u64,
        swept: usize,
    },
    /// Some descendants do not end. The warden goes on trying, and keeps the lease meanwhile.
    Stuck { left: Vec<Left> },
    /// These belong to another user by now, so nobody here can end them. The warden gives them up.
    GivenUp { left: Vec<Left> },
    /// The child and all that descended from it are gone, but for what was given up. The warden ends, and with it the lease.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// A process that outlived its SIGKILL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub pid: i32,
    pub name: String,
    /// We may not signal it.
    pub denied: bool,
}

/// One line for people: `4711 (sleep), 4712 (make)`.
pub fn listed(left: &[Left]) -> String {
    let each: Vec<String> = left
        .iter()
        .take(8)
        .map(|left| format!("{} ({})", left.pid, left.name))
        .collect();
    each.join(", ")
}

/// Whether a program, or an error's text, says that the machine is short of something: descriptors, memory, processes, disk.
pub fn speaks_of_shortage(text: &str) -> bool {
    [
        "Too many open files",
        "Cannot allocate memory",
        "Resource temporarily unavailable",
        "No space left on device",
        "Disk quota exceeded",
        "ENOSPC",
        "EMFILE",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// Whether an error says that the machine has too little of something, so that the same can work later.
pub fn is_shortage(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}
