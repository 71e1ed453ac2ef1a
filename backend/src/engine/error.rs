//! Why an engine cannot be opened. A failed call is not an error here: it is a value of the outcome.

use std::path::PathBuf;

/// Nothing is half-applied after any of these.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` is in use by another process: stop it first, or use another file", path.display())]
    Locked { path: PathBuf },
    #[error("cannot open the database `{}`: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("`{}` is not a database of this program, or it is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("`{}` was written by a newer version (layout {found}, this one knows {known})", path.display())]
    TooNew {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("cannot load the function module `{module}`: {message}")]
    Module { module: String, message: String },
    #[error("the schema is not usable: {0}")]
    Schema(String),
    /// Names the document, the path inside it and the validator it breaks.
    #[error("stored data does not match the new schema: {0}")]
    Violation(String),
    #[error("cannot start the JavaScript engine: {0}")]
    Runtime(String),
    #[error("cannot write the database: {0}")]
    Storage(#[from] StorageError),
}

/// A failure of SQLite itself (disk full, I/O error).
#[derive(Debug, thiserror::Error)]
#[error("storage: {0}")]
pub struct StorageError(#[from] pub rusqlite::Error);

impl StorageError {
    /// Of the file itself: it does not go away by waiting.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(
            self.0.sqlite_error_code(),
            Some(DatabaseCorrupt | NotADatabase)
        )
    }
}
