//! The names that things have on every side of the wire. All of them are made by us, never by the
//! deployment, so that a call which is sent twice names the same thing twice.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

id!(
    /// One developer's machine, as the deployment knows it.
    MachineId
);
id!(
    /// One directory served on one machine; the middle part of a worker token.
    WorkerId
);
id!(
    /// One chat.
    SessionId
);
id!(
    /// One prompt and its answer. It is the id of the assistant's message.
    TurnId
);
id!(
    /// One permission or question that is put before an owner.
    RequestKey
);
id!(
    /// One task in a worker's queue.
    TaskId
);
id!(
    /// The assistant's own name for a conversation (OpenCode: `ses_…`).
    ConversationId
);
id!(
    /// A model as the assistant names it: `provider/model`; the model part may contain slashes.
    ModelId
);
id!(
    /// One thing that an owner asks of a machine.
    CommandId
);
id!(
    /// Where several assistants work together.
    RoomId
);
id!(
    /// What one of them does there.
    RoleId
);
id!(
    /// Names one deployment by its URL, without a trailing slash.
    DeploymentUrl
);

/// A working directory: absolute and free of symbolic links.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerDir(PathBuf);

impl WorkerDir {
    /// Wraps a path that the caller has made absolute and canonical.
    pub fn canonical(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for WorkerDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
