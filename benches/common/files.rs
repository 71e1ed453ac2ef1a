//! Folders of a run: below Cargo's target folder, so that what is synced is synced to a disk and not to a tmpfs.

use std::path::PathBuf;

use tempfile::TempDir;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Gone when it is dropped.
pub fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("bench")
        .tempdir_in(root())
        .expect("a folder")
}
