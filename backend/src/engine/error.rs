//! Why an engine cannot be opened. A failed call is not an error here: it is a value of the outcome.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Nothing is half-applied after any of these.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{}` is in use by another process: stop it first, or use another file", path.display())]
    Locked { path: PathBuf },
    #[error(
        "cannot use the database `{}`: {reason}; it and its folder must be yours to read and write, on a disk with room",
        path.display()
    )]
    Unreadable { path: PathBuf, reason: String },
    #[error(
        "`{}` is not a database of this program, or it is damaged: {reason}; move it away to begin with an empty one, or put \
         a copy in its place",
        path.display()
    )]
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
    /// Until the path is known: nobody outside of the engine sees it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A failure of SQLite itself (disk full, I/O error). Its text goes to clients: it names no path.
#[derive(Debug, thiserror::Error)]
#[error("storage: {0}{advice}", advice = advice(.0))]
pub struct StorageError(#[from] pub rusqlite::Error);

impl StorageError {
    /// Of the file itself: it does not go away by waiting.
    pub fn is_damage(&self) -> bool {
        matches!(
            self.0.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// What whoever runs the deployment can do.
fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "; nothing of this call was kept: free space where the deployment keeps its data, then try again"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "; nothing of this call was kept: look for a full disk, a limit of file sizes (`ulimit -f`) or a failing \
             disk where the deployment keeps its data, then try again"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; the deployment's database is damaged: stop it, move the file away and put a copy in its place"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; the deployment may not use its own files: see to their modes and their owner"
        }
        _ => "",
    }
}
