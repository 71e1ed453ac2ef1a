//! The child journal: one small file for each living child, in the state folder. It is the last belt: a supervisor
//! that starts ends what a dead one left, without waiting for anybody to ask for those sessions.
//! An entry kills only a process that started at the same tick of the same boot and carries our marker. A child's tools
//! are not in the journal; those that outlived their warden are found by the marker, under their session's lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::lease::{Lease, LeaseSpec, session_lock};
use super::marker::{self, MarkerPrefix};
use super::sys;

/// A start does not wait longer than this for the dying of one session.
const SWEEP: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub pid: u32,
    pub start_time: u64,
    pub boot_id: String,
    pub session: String,
}

/// The folder `children/` below a state folder.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    pub fn in_state_folder(state: &Path) -> Self {
        Self {
            folder: state.join("children"),
        }
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.folder
            .join(format!("{}-{}.json", entry.pid, entry.start_time))
    }

    /// Whole or not at all: half an entry (a full disk) names nobody, and nobody would take it away.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(entry);
        fs::write(&path, serde_json::to_vec(entry)?).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })
    }

    pub fn forget(&self, entry: &Entry) {
        let _ = fs::remove_file(self.path(entry));
    }

    /// Takes away what a kill in the middle of [`Journal::record`] has left.
    fn forget_halves(&self) {
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            let is_ours = path
                .extension()
                .is_some_and(|extension| extension == "json");
            let is_whole =
                fs::read(&path).is_ok_and(|bytes| serde_json::from_slice::<Entry>(&bytes).is_ok());
            if is_ours && !is_whole {
                let _ = fs::remove_file(path);
            }
        }
    }

    pub fn entries(&self) -> Vec<Entry> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        files
            .filter_map(|file| serde_json::from_slice(&fs::read(file.ok()?.path()).ok()?).ok())
            .collect()
    }
}

/// Ends the children of a supervisor that is dead, and empties the journal. Blocks shortly. To be called once, at the start,
/// while holding the lock of the state folder. Returns how many were hit.
pub fn sweep_at_start(journal: &Journal, prefix: &MarkerPrefix) -> usize {
    let boot = sys::boot_id();
    let mut hit = 0;
    for entry in journal.entries() {
        if kill_if_ours(&entry, &boot, prefix) {
            hit += 1;
        }
        journal.forget(&entry);
    }
    journal.forget_halves();
    hit
}

/// Ends every process that carries one of our markers and whose session nobody holds: a tool that outlived its warden
/// would otherwise run until somebody happens to write to that session again. A warden in its grace holds its lock
/// and is left to finish. Blocks shortly. To be called at the start, like [`sweep_at_start`]. Returns how many were hit.
pub fn sweep_unowned(prefix: &MarkerPrefix, locks: &Path) -> usize {
    let mut hit = 0;
    for (marker, session_key) in prefix.alive() {
        let lease = LeaseSpec {
            session: Some(session_lock(locks, &session_key)),
            directory: None,
        };
        if let Ok(_lease) = Lease::try_take(&lease) {
            hit += marker::sweep_within(&marker, SWEEP);
        }
    }
    hit
}

fn kill_if_ours(entry: &Entry, boot: &str, prefix: &MarkerPrefix) -> bool {
    let Ok(pid) = i32::try_from(entry.pid) else {
        return false;
    };
    entry.boot_id == boot
        && !boot.is_empty()
        && sys::signal_if(pid, Signal::KILL, || {
            sys::stat(pid).is_some_and(|stat| stat.start_time == entry.start_time && !stat.zombie)
                && prefix.is_in_environment_of(pid)
        })
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::adapters::process::marker::{MARKER_VARIABLE, Marker};

    /// A child that has the marker, and its entry.
    fn marked_child(prefix: &MarkerPrefix) -> (std::process::Child, Entry) {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .env(MARKER_VARIABLE, Marker::new(prefix, "s").as_str())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Until it has replaced our image, the process shows our environment.
        while !prefix.is_in_environment_of(pid) {
            std::thread::yield_now();
        }
        let entry = Entry {
            pid: child.id(),
            start_time: sys::stat(pid).unwrap().start_time,
            boot_id: sys::boot_id(),
            session: "s".to_owned(),
        };
        (child, entry)
    }

    #[test]
    fn a_tool_that_outlived_its_warden_and_supervisor_is_ended_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = MarkerPrefix::of_state_folder(folder.path());
        let (mut tool, _) = marked_child(&prefix);
        let owned = LeaseSpec {
            session: Some(session_lock(folder.path(), "s")),
            directory: None,
        };
        let lease = Lease::try_take(&owned).unwrap();
        assert_eq!(sweep_unowned(&prefix, folder.path()), 0);
        assert!(tool.try_wait().unwrap().is_none(), "its warden is alive");
        drop(lease);
        let strangers = MarkerPrefix::of_state_folder(Path::new("/somebody/else"));
        assert_eq!(sweep_unowned(&strangers, folder.path()), 0);
        assert_eq!(sweep_unowned(&prefix, folder.path()), 1);
        tool.wait().unwrap();
    }

    #[test]
    fn half_an_entry_is_taken_away_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_state_folder(folder.path());
        fs::create_dir_all(&journal.folder).unwrap();
        for (name, half) in [("7-1.json", ""), ("8-2.json", "{\"pid\":8,")] {
            fs::write(journal.folder.join(name), half).unwrap();
        }
        let prefix = MarkerPrefix::of_state_folder(folder.path());
        assert_eq!(sweep_at_start(&journal, &prefix), 0);
        assert_eq!(fs::read_dir(&journal.folder).unwrap().count(), 0);
    }

    #[test]
    fn a_pid_alone_never_kills_anything() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_state_folder(folder.path());
        let prefix = MarkerPrefix::of_state_folder(folder.path());
        let (mut child, entry) = marked_child(&prefix);
        let other_start = Entry {
            start_time: entry.start_time + 1,
            ..entry.clone()
        };
        let other_boot = Entry {
            boot_id: "earlier".to_owned(),
            ..entry.clone()
        };
        for wrong in [other_start, other_boot] {
            journal.record(&wrong).unwrap();
            assert_eq!(sweep_at_start(&journal, &prefix), 0, "{wrong:?}");
        }
        journal.record(&entry).unwrap();
        let strangers = MarkerPrefix::of_state_folder(Path::new("/somebody/else"));
        assert_eq!(sweep_at_start(&journal, &strangers), 0);
        assert!(child.try_wait().unwrap().is_none());

        journal.record(&entry).unwrap();
        assert_eq!(sweep_at_start(&journal, &prefix), 1);
        child.wait().unwrap();
        assert!(journal.entries().is_empty());
    }
}
