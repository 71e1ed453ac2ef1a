//! The child journal: one small file for each living child, in the state folder. It is the last belt: a supervisor
//! that starts ends what a dead one left, without waiting for anybody to ask for those sessions.
//! An entry kills only a process that started at the same tick of the same boot and carries our marker. A child's tools
//! are not in the journal; those that outlived their warden are found by the marker, under their session's lock.
//! A start empties the folder of everything that has a journal file's name, so it never grows, and damage (a torn write,
//! an older version's entry) costs nothing but the belt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::lease::{Lease, LeaseSpec, session_lock};
use super::marker::{self, MarkerPrefix};
use super::private::{private_folder, write_private};
use super::sys::{self, Delivery};

/// A start does not wait longer than this for the dying of one session.
const SWEEP: Duration = Duration::from_secs(2);

/// How entries' names end, and those of entries that are being written.
const ENTRY: &str = ".json";
const ASIDE: &str = ".new";

/// An entry has a hundred bytes; a larger file is no entry.
const MOST_BYTES: u64 = 16 * 1024;

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

    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, pid: u32, start_time: u64) -> PathBuf {
        self.folder.join(format!("{pid}-{start_time}{ENTRY}"))
    }

    /// Written aside and renamed: a kill in between leaves no half entry.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        private_folder(&self.folder)?;
        let path = self.path(entry.pid, entry.start_time);
        let mut aside = path.clone().into_os_string();
        aside.push(ASIDE);
        let written = write_private(Path::new(&aside), &serde_json::to_vec(entry)?)
            .and_then(|()| fs::rename(&aside, path));
        // Half an entry (a full disk) names nobody.
        written.inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })
    }

    pub fn forget(&self, entry: &Entry) {
        self.forget_child(entry.pid, entry.start_time);
    }

    /// The same by who was in it.
    pub(super) fn forget_child(&self, pid: u32, start_time: u64) {
        let _ = fs::remove_file(self.path(pid, start_time));
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.files().iter().filter_map(|path| read(path)).collect()
    }

    /// Whatever has the name of an entry, finished or not. Other files are not ours.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        files
            .flatten()
            .filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()))
            .map(|file| file.path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| {
                    let ended = name.strip_suffix(ASIDE).unwrap_or(name);
                    ended.strip_suffix(ENTRY).is_some()
                })
            })
            .collect()
    }
}

fn read(path: &Path) -> Option<Entry> {
    let size = fs::metadata(path).ok()?.len();
    (size <= MOST_BYTES)
        .then(|| fs::read(path).ok())
        .flatten()
        .and_then(|text| serde_json::from_slice(&text).ok())
}

/// Ends the children of a supervisor that is dead, and empties the journal. Blocks shortly. To be called once, at the start,
/// while holding the lock of the state folder. Returns how many were hit.
pub fn sweep_at_start(journal: &Journal, prefix: &MarkerPrefix) -> usize {
    let boot = sys::boot_id();
    let (mut hit, mut damaged) = (0, 0);
    for path in journal.files() {
        match read(&path) {
            Some(entry) if kill_if_ours(&entry, &boot, prefix) => hit += 1,
            Some(_) => {}
            None => damaged += 1,
        }
        let _ = fs::remove_file(path);
    }
    if damaged > 0 {
        tracing::warn!(
            damaged,
            "entries of the child journal could not be read and are removed; children are found by their marker"
        );
    }
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
        if let Ok(lease) = Lease::try_take(&lease) {
            hit += marker::sweep(&marker, SWEEP).hit;
            lease.give_back();
        }
    }
    hit
}

fn kill_if_ours(entry: &Entry, boot: &str, prefix: &MarkerPrefix) -> bool {
    let Ok(pid) = i32::try_from(entry.pid) else {
        return false;
    };
    let is_ours = || {
        sys::stat(pid).is_some_and(|stat| stat.start_time == entry.start_time && !stat.zombie)
            && prefix.is_in_environment_of(pid)
    };
    entry.boot_id == boot
        && !boot.is_empty()
        && sys::signal_if(pid, Signal::KILL, is_ours) == Delivery::Sent
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
    fn what_the_journal_says_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_state_folder(folder.path());
        let (mut child, entry) = marked_child(&MarkerPrefix::of_state_folder(folder.path()));
        journal.record(&entry).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&journal.folder), 0o700);
        assert_eq!(mode(&journal.path(entry.pid, entry.start_time)), 0o600);
        let lock = session_lock(&folder.path().join("run/locks"), "s");
        let lease = Lease::try_take(&LeaseSpec {
            session: Some(lock.clone()),
            directory: None,
        });
        drop(lease.unwrap());
        assert_eq!(mode(&lock), 0o600);
        assert_eq!(mode(&folder.path().join("run/locks")), 0o700);
        assert_eq!(mode(&folder.path().join("run")), 0o700);
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

    #[test]
    fn a_damaged_journal_ends_nothing_and_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::in_state_folder(folder.path());
        let prefix = MarkerPrefix::of_state_folder(folder.path());
        let (mut child, entry) = marked_child(&prefix);
        journal.record(&entry).unwrap();
        let whole = fs::read(journal.path(entry.pid, entry.start_time)).unwrap();
        let inside = |name: &str| folder.path().join("children").join(name);
        // Torn, garbage, an older version's, far too large, never finished; and something that is not ours at all.
        fs::write(
            journal.path(entry.pid, entry.start_time),
            &whole[..whole.len() / 2],
        )
        .unwrap();
        fs::write(inside("1-1.json"), b"\x00\xffgarbage").unwrap();
        fs::write(inside("2-2.json"), format!("{{\"pid\": {}}}", entry.pid)).unwrap();
        fs::write(inside("3-3.json"), vec![b' '; 1024 * 1024]).unwrap();
        fs::write(inside("4-4.json.new"), &whole[..3]).unwrap();
        fs::write(inside("notes.txt"), "not ours").unwrap();
        assert_eq!(sweep_at_start(&journal, &prefix), 0);
        assert!(child.try_wait().unwrap().is_none());
        let left: Vec<_> = fs::read_dir(inside("")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        // The marker still finds the child.
        assert_eq!(sweep_unowned(&prefix, folder.path()), 1);
        child.wait().unwrap();
    }
}
