//! Where a setting came from, for `config show --origin`.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Default,
    /// A file's name and the line in it.
    File {
        name: String,
        line: usize,
    },
    /// A variable.
    Environment(String),
    Flag(&'static str),
}

impl Origin {
    pub fn file(name: &str, line: usize) -> Self {
        Self::File {
            name: name.to_owned(),
            line,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) => write!(f, "environment: {name}"),
            Self::Flag(name) => write!(f, "flag: {name}"),
        }
    }
}

/// The origins of what a worker's entry may leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    pub name: Origin,
    /// The entry itself; of development mode's worker, its directory.
    pub directory: Origin,
    pub idle_timeout: Origin,
    pub max_sessions: Origin,
    pub on_interrupt: Origin,
    /// Of what is said about tasks, by the setting's path; the default's for what is not in it.
    pub tasks: BTreeMap<&'static str, Origin>,
    /// Of the keys `notify_*`; the default's for what is not in it.
    pub notify: BTreeMap<&'static str, Origin>,
    pub permissions: Origin,
    pub answer_timeout: Origin,
}
