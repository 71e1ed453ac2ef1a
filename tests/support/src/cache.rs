//! What tests need from package registries is installed once, below cargo's target folder, and kept there: from then on
//! no test needs the network. Any number of test processes may want it at the same moment: one installs, under a lock,
//! in a folder aside that gets its name when it is whole; the others wait. A `cargo clean` removes it all.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An installation may take this long, and waiting for somebody else's, too.
pub const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().expect("the repository")
}

/// Cargo's target folder: the one that this test's executable is in.
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("this executable");
    test.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| root().join("target"), Path::to_owned)
}

/// The folder `<target>/<kind>/<name>`, filled by `make` unless it is there already. `name` must say everything that
/// its content depends on. `make` gets an empty folder that has another name yet, and panics if it cannot fill it.
pub fn made_once(kind: &str, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    made_once_in(&target().join(kind), name, make)
}

fn made_once_in(folder: &Path, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let whole = folder.join(name);
    if whole.is_dir() {
        return whole;
    }
    fs::create_dir_all(folder).expect("a folder");
    let _lock = lock(&folder.join(".lock"));
    // Somebody else may have made it while we waited.
    if !whole.is_dir() {
        let aside = folder.join(format!(".making-{name}"));
        if aside.exists() {
            fs::remove_dir_all(&aside).expect("what a killed test has left can be removed");
        }
        fs::create_dir(&aside).expect("a folder");
        make(&aside);
        fs::rename(&aside, &whole).expect("a name");
    }
    whole
}

/// The lock goes with the file, so also with a process that is killed.
fn lock(path: &Path) -> File {
    let file = File::create(path).expect("a lock file");
    let deadline = Instant::now() + INSTALL_LIMIT;
    loop {
        match file.try_lock() {
            Ok(()) => return file,
            Err(TryLockError::WouldBlock) => {
                assert!(
                    Instant::now() < deadline,
                    "another test process has been installing for {} s: see {}",
                    INSTALL_LIMIT.as_secs(),
                    path.display()
                );
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn many_want_it_and_one_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let path = made_once_in(folder.path(), "thing", |aside| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(aside.join("content"), "whole").unwrap();
                    });
                    assert_eq!(fs::read_to_string(path.join("content")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_failed_half_way_is_never_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let failed = std::thread::spawn(move || {
            made_once_in(&path, "thing", |aside| {
                fs::write(aside.join("half"), "").unwrap();
                panic!("the registry is away");
            })
        });
        assert!(failed.join().is_err() && !folder.path().join("thing").exists());
        let made = made_once_in(folder.path(), "thing", |aside| {
            fs::write(aside.join("content"), "").unwrap();
        });
        assert!(made.join("content").exists() && !made.join("half").exists());
    }
}
