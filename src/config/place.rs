//! Turns what a configuration says about directories into absolute paths: `~/x` is in the home folder, a relative path
//! is relative to the folder that the supervisor was started in. That base is kept with the running configuration, so
//! that a reload means the same directories as the start did.

use std::path::{Path, PathBuf};

/// What paths in a configuration are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub home: PathBuf,
    pub current: PathBuf,
}

impl Base {
    /// The absolute form, without looking at the disk.
    pub fn expand(&self, text: &str) -> PathBuf {
        if text == "~" {
            return self.home.clone();
        }
        if let Some(rest) = text.strip_prefix("~/") {
            return self.home.join(rest);
        }
        let path = self.current.join(Path::new(text));
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// The directory itself, links resolved; or why it cannot be worked in, in the words that `ps` and the start show.
pub fn inspect(given: &str, path: &Path) -> Result<PathBuf, String> {
    let meta = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("working directory {given} does not exist")
        }
        _ => format!("working directory {given} cannot be used: {error}"),
    })?;
    if !meta.is_dir() {
        return Err(format!("working directory {given} is not a directory"));
    }
    std::fs::canonicalize(path)
        .map_err(|error| format!("working directory {given} cannot be used: {error}"))
}
