//! Gives what is in the way another name. Nothing that we did not write is ever deleted.

use std::fs;
use std::path::{Path, PathBuf};

/// Renames `path` to the first free `<path>.damaged-<n>`.
pub fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = free_name(path);
    fs::rename(path, &aside)?;
    Ok(aside)
}

pub fn free_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1_u64..).map(|n| path.with_file_name(format!("{name}.damaged-{n}")));
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    names.into_iter().find(is_free).unwrap_or_default()
}
