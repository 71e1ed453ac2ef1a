//! A run's own folder, outside the repository: the instructions (`git add -A` would commit them) and whatever the assistant
//! keeps. It holds the whole conversation, some of it readable to all by the assistant's own choice, so the folder around
//! it is the user's alone. Removed when this is dropped.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub struct Folder(PathBuf);

impl Folder {
    pub fn make(run_dir: &Path, name: &str, key: &str) -> io::Result<Self> {
        let all = run_dir.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&all)?;
        let own = all.join(key);
        // A killed supervisor may have left one.
        let _ = fs::remove_dir_all(&own);
        DirBuilder::new().mode(0o700).create(&own)?;
        Ok(Self(own))
    }

    /// What the runs of a task have left whose supervisor was killed: whoever did them, nothing of it lives any more.
    pub fn sweep(run_dir: &Path, names: &[&str], key: &str) {
        for name in names {
            let _ = fs::remove_dir_all(run_dir.join(name).join(key));
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn instructions(&self) -> PathBuf {
        self.0.join("instructions.md")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
