//! What an engine is opened with: where its file is, which functions it runs and what a call may use.
//!
//! The limits are Convex's own, so that a function which works here works there; tests lower them.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything [`super::Engine::open`] needs.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub store: Store,
    pub functions: Functions,
    pub limits: Limits,
}

/// Where the documents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A SQLite file, made if it is missing (its folder is not). Held exclusively while the engine is open.
    File(PathBuf),
    /// Nothing outlives the engine.
    Memory,
}

impl Store {
    /// For messages.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory => Path::new(":memory:"),
        }
    }
}

/// The deployed modules: `(name, source)`, where the name is the path inside `convex/` without `.js`
/// (`messages`, `lib/auth`) and the source is an ES module. A module named `schema` is the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    pub modules: Vec<(String, String)>,
    /// What the functions see as `process.env`: this and nothing of the process's own environment.
    pub environment: Vec<(String, String)>,
}

impl Functions {
    pub fn new<N: Into<String>, S: Into<String>>(
        modules: impl IntoIterator<Item = (N, S)>,
    ) -> Self {
        Self {
            modules: modules
                .into_iter()
                .map(|(name, source)| (name.into(), source.into()))
                .collect(),
            environment: Vec::new(),
        }
    }

    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of the function's own JavaScript.
    pub user_time: Duration,
    /// The JavaScript heap of the whole engine, in bytes.
    pub heap_bytes: usize,
    /// Encoded arguments and encoded result, each.
    pub value_bytes: usize,
    pub document_bytes: usize,
    pub array_elements: usize,
    pub nesting: usize,
    pub read_bytes: usize,
    pub read_documents: usize,
    pub read_ranges: usize,
    pub write_bytes: usize,
    pub write_documents: usize,
    pub scheduled: usize,
    pub log_lines: usize,
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            user_time: Duration::from_secs(1),
            heap_bytes: 128 << 20,
            value_bytes: 16 << 20,
            document_bytes: 1 << 20,
            array_elements: 8192,
            nesting: 64,
            read_bytes: 16 << 20,
            read_documents: 32_000,
            read_ranges: 4096,
            write_bytes: 16 << 20,
            write_documents: 16_000,
            scheduled: 1000,
            log_lines: 256,
            log_line_bytes: 4096,
        }
    }
}
