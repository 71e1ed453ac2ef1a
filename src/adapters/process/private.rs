//! Folders and files of our own that nobody else has to read, closed from the moment they are there: what a folder around
//! them allows is not relied upon. Nothing that exists already is changed.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A folder and the parents it lacks, 0700.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A file of this content, 0600.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}
