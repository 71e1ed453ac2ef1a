//! The database's file as it has to be before it is opened: there, ours to write, and nobody else's to read. What is in
//! it is the engine's.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::error::RunError;

const PRIVATE: u32 = 0o600;
/// What SQLite puts beside it.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Makes the file if there is none. One that others can read, a copy for instance, is taken from them.
pub(super) fn make_private(path: &Path) -> Result<(), RunError> {
    let existed = fs::symlink_metadata(path).is_ok();
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE)
        .open(path);
    if let Err(error) = opened {
        let (verb, advice) = if existed {
            (
                "open",
                "it must be a file that you can read and write (chmod 600)",
            )
        } else {
            (
                "make",
                "its folder must be one that you can write (chmod 700)",
            )
        };
        let path = path.display();
        return Err(RunError::Setup(format!(
            "cannot {verb} the database {path}: {error}; {advice}"
        )));
    }
    take_from_others(path)?;
    for ending in COMPANIONS {
        let mut companion = path.as_os_str().to_owned();
        companion.push(ending);
        let companion = PathBuf::from(companion);
        if companion.exists() {
            take_from_others(&companion)?;
        }
    }
    Ok(())
}

fn take_from_others(path: &Path) -> Result<(), RunError> {
    let failed = |error: std::io::Error| {
        RunError::Setup(format!(
            "others can read {}, and that cannot be changed: {error}; run chmod 600 on it",
            path.display()
        ))
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    let is_exposed = mode & 0o077 != 0;
    if !is_exposed {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(PRIVATE)).map_err(failed)?;
    warn!(path = %path.display(), mode = format!("{mode:o}"), "others could read it: its mode is 600 now");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_database_and_its_log_that_others_can_read_are_taken_from_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local.sqlite3");
        make_private(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let log = folder.path().join("local.sqlite3-wal");
        fs::write(&log, "x").unwrap();
        for path in [&path, &log] {
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        make_private(&path).unwrap();
        assert_eq!((mode(&path), mode(&log)), (0o600, 0o600));
    }

    #[test]
    fn what_is_there_and_cannot_be_opened_is_not_said_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local.sqlite3");
        fs::create_dir(&path).unwrap();
        let error = make_private(&path).unwrap_err().to_string();
        for part in ["cannot open the database ", "local.sqlite3", "chmod 600"] {
            assert!(error.contains(part), "{error}");
        }
        let error = make_private(&folder.path().join("no/local.sqlite3")).unwrap_err();
        assert!(error.to_string().contains("cannot make the database"));
    }
}
