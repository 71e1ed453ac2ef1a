//! The versions that executables have told. Asking costs a start of OpenCode, most of a second, and would be done at every
//! start of the supervisor where no `package.json` says it. An entry holds for one file as it is: another size, time or inode
//! and it is asked again. Only a cache: what cannot be read or written is no error, and a session's boot looks at the
//! running OpenCode's own version anyway.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::paths::write_private_unsynced;

/// Executables that are remembered; one more and all are asked anew.
const MOST: usize = 16;

pub struct Told {
    file: PathBuf,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// What tells a file from the one that takes its place.
    stamp: Stamp,
    version: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    changed_ns: i128,
    inode: u64,
}

type Entries = BTreeMap<PathBuf, Entry>;

impl Told {
    pub fn below(folder: &Path) -> Self {
        Self {
            file: folder.join("versions.json"),
        }
    }

    pub fn version(&self, binary: &Path) -> Option<String> {
        let entry = self.entries().remove(binary)?;
        (entry.stamp == stamp(binary)?).then_some(entry.version)
    }

    pub fn keep(&self, binary: &Path, version: &str) {
        let Some(stamp) = stamp(binary) else {
            return;
        };
        let mut entries = self.entries();
        if entries.len() >= MOST {
            entries.clear();
        }
        let version = version.to_owned();
        entries.insert(binary.to_owned(), Entry { stamp, version });
        let written = serde_json::to_vec(&entries)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                write_private_unsynced(&self.file, &text).map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            tracing::debug!(%error, "versions are not kept");
        }
    }

    fn entries(&self) -> Entries {
        let text = std::fs::read(&self.file).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

fn stamp(binary: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(binary).ok()?;
    Some(Stamp {
        size: meta.len(),
        changed_ns: i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()),
        inode: meta.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_holds_for_the_file_that_told_it_only() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("opencode");
        let told = Told::below(&folder.path().join("data"));
        std::fs::write(&binary, "one").unwrap();
        assert_eq!(told.version(&binary), None);
        told.keep(&binary, "1.18.33");
        assert_eq!(told.version(&binary).as_deref(), Some("1.18.33"));
        let update = folder.path().join("update");
        std::fs::write(&update, "two").unwrap();
        std::fs::rename(&update, &binary).unwrap();
        assert_eq!(told.version(&binary), None);
        told.keep(&binary, "1.18.34");
        assert_eq!(told.version(&binary).as_deref(), Some("1.18.34"));
    }

    #[test]
    fn garbage_is_as_good_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("opencode");
        std::fs::write(&binary, "").unwrap();
        std::fs::write(folder.path().join("versions.json"), "[").unwrap();
        let told = Told::below(folder.path());
        assert_eq!(told.version(&binary), None);
        told.keep(&binary, "1.18.33");
        assert!(told.version(&binary).is_some());
        told.keep(&folder.path().join("gone"), "1.18.33");
        assert_eq!(told.version(&folder.path().join("gone")), None);
    }
}
