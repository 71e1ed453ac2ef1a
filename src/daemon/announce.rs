//! What the supervisor has to tell while it starts and stops. The command line prints it; tests record it.

use std::time::Duration;

use orchestrator_actors::machine::WorkerStart;

use super::reload::Reloaded;
use crate::config::Problem;
use crate::control::Refusal;

/// Listens to a supervisor's life.
pub trait Announce: Send + Sync {
    fn warning(&self, problem: &Problem);
    fn progress(&self, progress: Progress);
    /// Everything is up.
    fn started(&self, summary: &Summary);
    /// A reload by signal, or because the watched file has changed.
    fn reloaded(&self, result: Result<&Reloaded, &Refusal>);
    /// A worker or a deployment stands elsewhere than before.
    fn news(&self, news: &News);
    /// Something was odd and was dealt with.
    fn notice(&self, text: &str);
    fn stopping(&self, workers: usize, sessions: usize, limit: Duration);
    fn stopped(&self, ended: &Ended);
}

/// An installation, which takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It begins: what is done, for people.
    Installing(String),
    /// So many bytes are there.
    Bytes(u64),
    Installed,
}

/// The first lines that people see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// URL and detail of the embedded deployment.
    pub deployment: Option<(String, String)>,
    pub machine_name: String,
    pub machine_id: String,
    pub tools: Vec<String>,
    pub workers: Vec<WorkerLine>,
    /// The scripted model answers instead of a provider.
    pub demo: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLine {
    pub name: String,
    pub directory: String,
    pub start: WorkerStart,
}

/// One line about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// `worker shop`, `deployment happy-otter-123`.
    pub who: String,
    /// `ready`, or what it waits for or fails with.
    pub text: String,
    pub is_good: bool,
}

/// How the supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order, in this time; so many finishes wait for the next start.
    Stopped { took: Duration, outbox: usize },
    /// As asked, to start again; so many children were killed because the limit was over.
    Again { took: Duration, killed: usize },
    /// The limit was over, or somebody insisted.
    Forced {
        limit: Option<Duration>,
        killed: usize,
    },
    /// Asked to stop before it was up.
    Interrupted,
}
