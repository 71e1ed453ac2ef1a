//! What can be wrong with a configuration, and where. A problem knows the path of its field (`workers.1.convex_url`)
//! and its place in the file; its text never holds a secret, and neither does the copy of the source that errors carry.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One mistake, or one thing worth a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `workers.1.convex_url`; empty for the file as a whole.
    pub path: String,
    pub message: String,
    /// What to do, when the message does not say it.
    pub help: Option<String>,
    /// The file's name, for `workers.json:9:21`.
    pub file: String,
    /// From 1, in characters; 0 for what has no place in a file (a variable of the environment, a line that is missing).
    pub line: usize,
    pub column: usize,
    /// Bytes in the source, for a renderer that can point.
    #[serde(skip)]
    pub span: (usize, usize),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if self.line == 0 {
            return write!(f, "{} ({})", self.message, self.file);
        }
        write!(
            f,
            "{} ({}:{}:{})",
            self.message, self.file, self.line, self.column
        )
    }
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("no workers configuration at {}", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}", list(problems))]
    Invalid {
        path: PathBuf,
        /// The file's text with every secret blotted out, byte for byte as long as the original.
        source_text: String,
        problems: Vec<Problem>,
        /// What is odd besides: a key that nobody knows may be the one that is missing.
        warnings: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
