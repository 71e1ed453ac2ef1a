//! The marker: a variable in the environment of every descendant of a session's child. It finds what no
//! process tree shows any more (warden and supervisor killed together, a tool in a session of its own).
//! Only a holder of the session's lock sweeps, so a marked process is always one whose owner is dead.
//! Wardens carry the same value under another name, by which those of a dead supervisor are found.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::sys::{self, Delivery, Environment};

/// The variable's name. It is ours alone: the environment's allow-list never lets another one through.
pub const MARKER_VARIABLE: &str = "ORCHESTRATOR_MARKER";

/// The same for a warden. Never in a child's environment, so that no sweep takes a warden for a child.
pub(super) const WARDEN_VARIABLE: &str = "ORCHESTRATOR_WARDEN";

/// `<state folder>:<session>`, both shortened to what is safe in an environment and in a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker(String);

impl Marker {
    pub fn new(prefix: &MarkerPrefix, session: &str) -> Self {
        Self(format!("{}:{}", prefix.0, file_key(session)))
    }

    /// Of a child that belongs to no session and holds no lock, such as a program that is asked for its version: nobody
    /// but its own keeper ever looks for it.
    pub fn of_its_own() -> Self {
        Self(format!("alone:{}", uuid::Uuid::now_v7().simple()))
    }

    /// Of what runs under a lock that belongs to no session: whoever takes it next sweeps.
    pub fn of_lock(path: &std::path::Path) -> Self {
        let digest = hex(path.as_os_str().as_encoded_bytes());
        Self(format!("lock:{}", &digest[..32]))
    }

    /// A marker as it came over the lifeline.
    pub(super) fn from_text(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What all markers of one state folder begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerPrefix(String);

impl MarkerPrefix {
    /// Of a supervisor's state folder, given by its canonical path.
    pub fn of_state_folder(path: &std::path::Path) -> Self {
        let mut digest = hex(path.as_os_str().as_encoded_bytes());
        digest.truncate(16);
        Self(digest)
    }

    /// The markers that living processes carry, with the key of their session. Not our own process's.
    pub(super) fn alive(&self) -> Vec<(Marker, String)> {
        let wanted = format!("{MARKER_VARIABLE}={}:", self.0);
        let key_of = |environment: &Environment| {
            let value = environment.value(wanted.as_bytes())?;
            String::from_utf8(value).ok()
        };
        let own = i32::try_from(std::process::id()).ok();
        let own = own.map(sys::environment).as_ref().and_then(key_of);
        let mut keys: Vec<String> = Vec::new();
        for pause in LOOKS_AGAIN {
            let mut unsettled = false;
            for pid in sys::all_pids() {
                let environment = sys::environment(pid);
                keys.extend(key_of(&environment));
                unsettled |= environment.is_unsettled();
            }
            if !unsettled {
                break;
            }
            std::thread::sleep(pause);
        }
        keys.sort();
        keys.dedup();
        keys.into_iter()
            // The key becomes part of a path, and anybody of this user can write one.
            .filter(|key| own.as_ref() != Some(key) && !key.contains('/'))
            .map(|key| (Marker(format!("{}:{key}", self.0)), key))
            .collect()
    }

    pub(super) fn is_in_environment_of(&self, pid: i32) -> bool {
        self.is_under(MARKER_VARIABLE, pid)
    }

    /// Whether it is a warden of a supervisor with this state folder.
    pub(super) fn is_warden(&self, pid: i32) -> bool {
        self.is_under(WARDEN_VARIABLE, pid)
    }

    fn is_under(&self, variable: &str, pid: i32) -> bool {
        let wanted = format!("{variable}={}:", self.0);
        sys::environment(pid).has(|entry| entry.starts_with(wanted.as_bytes()))
    }
}

/// A name that is unique for `id` and safe in a path: the id itself when it is harmless, else with a digest.
pub fn file_key(id: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !id.is_empty() && id.len() <= 64 && id.chars().all(harmless) {
        return id.to_owned();
    }
    let readable: String = id.chars().filter(|c| harmless(*c)).take(16).collect();
    // The point cannot occur in a harmless id, so the two forms never meet.
    format!("{readable}.{}", short_hash(id.as_bytes()))
}

/// Stands for something that cannot be a file's name, or must not be shown: half of its SHA-256.
pub fn short_hash(bytes: &[u8]) -> String {
    hex(bytes)[..32].to_owned()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// How long to wait before each further look while a process does not tell yet whether it is marked. An `execve` shows
/// no environment for well under a millisecond, unless the processor is taken from it just then.
const LOOKS_AGAIN: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(20),
];

/// What a sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes that were sent SIGKILL.
    pub hit: usize,
    /// Those that were still there when the time was over.
    pub left: Vec<i32>,
}

/// Kills (SIGKILL) every process that carries exactly this marker and looks again until there is none or the time is
/// over: what cannot die (a process in an uninterruptible wait) is left to whoever takes the lock next. Blocks.
/// Call it only while holding the session's lock.
pub fn sweep(marker: &Marker, within: Duration) -> Swept {
    let wanted = format!("{MARKER_VARIABLE}={}", marker.as_str());
    let is_marked = |environment: &Environment| environment.has(|entry| entry == wanted.as_bytes());
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let until = Instant::now() + within;
    let mut hit = std::collections::HashSet::new();
    let mut pause = Duration::from_millis(2);
    let mut looks_again = LOOKS_AGAIN.iter();
    loop {
        let mut left = Vec::new();
        let mut unsettled = false;
        for pid in sys::all_pids() {
            if pid == own {
                continue;
            }
            let environment = sys::environment(pid);
            if !is_marked(&environment) {
                unsettled |= environment.is_unsettled();
                continue;
            }
            left.push(pid);
            if sys::signal_if(pid, Signal::KILL, || is_marked(&sys::environment(pid)))
                == Delivery::Sent
            {
                hit.insert(pid);
            }
        }
        if left.is_empty()
            && unsettled
            && let Some(pause) = looks_again.next()
        {
            std::thread::sleep(*pause);
            continue;
        }
        if left.is_empty() || Instant::now() >= until {
            let hit = hit.len();
            return Swept { hit, left };
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_folder_get_a_digest() {
        assert_eq!(file_key("session_01-a"), "session_01-a");
        let odd = file_key("../../etc/passwd\0");
        assert!(odd.starts_with("etcpasswd."), "{odd}");
        assert_ne!(file_key("a/b"), file_key("ab"));
        assert_ne!(file_key(""), file_key(" "));
    }

    #[test]
    fn a_child_of_no_session_is_taken_for_no_others() {
        let marker = Marker::of_its_own();
        assert_ne!(marker, Marker::of_its_own());
        assert!(!marker.as_str().contains('/'), "{marker:?}");
    }

    #[test]
    fn markers_of_two_state_folders_differ() {
        let one = MarkerPrefix::of_state_folder(std::path::Path::new("/a"));
        let two = MarkerPrefix::of_state_folder(std::path::Path::new("/b"));
        assert_ne!(Marker::new(&one, "s"), Marker::new(&two, "s"));
    }

    /// One look misses about one in some hundreds of them on a busy machine.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_in_the_middle_of_execve_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::new(&MarkerPrefix::of_state_folder(folder.path()), "s");
        for _ in 0..3 {
            let restless: Vec<_> = (0..20).map(|_| Restless::start(&marker)).collect();
            let swept = sweep(&marker, Duration::from_secs(10));
            assert_eq!((swept.hit, swept.left.len()), (restless.len(), 0));
        }
    }

    /// A shell that replaces itself by a shell that does the same. Ended with the test, missed or not.
    struct Restless(std::process::Child);

    impl Restless {
        fn start(marker: &Marker) -> Self {
            let again = "exec /bin/sh -c \"$0\" \"$0\"";
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-c", again, again]);
            shell.env(MARKER_VARIABLE, marker.as_str());
            Self(shell.spawn().unwrap())
        }
    }

    impl Drop for Restless {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
