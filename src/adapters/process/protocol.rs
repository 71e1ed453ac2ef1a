//! What supervisor and warden say to each other over the lifeline, one JSON object a line. The spec goes this
//! way and never over argv, because it holds the child's environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lease::LeaseSpec;

/// The first line to a warden: what to start, and under which rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub lease: LeaseSpec,
    pub marker: Option<String>,
    /// The session's folder for private temporary folders. What an earlier child left in it is removed.
    pub temporary: Option<PathBuf>,
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
    Busy { path: PathBuf },
    /// The child could not be started. The warden ends.
    Failed { message: String },
    /// The child runs.
    Started {
        pid: u32,
        start_time: u64,
        swept: usize,
    },
    /// The child and all that descended from it are gone. The warden ends, and with it the lease.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
}
