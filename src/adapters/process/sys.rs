//! What the system tells about processes, and signals that cannot hit the wrong one. Linux reads `/proc`; where
//! there is none the answers are empty, and callers fall back to the process group.
//! A signal goes through a pidfd that is opened *before* the process is looked at, so that a reused pid is never hit.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal};

/// A process, as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub parent: i32,
    /// Clock ticks after boot at which it started; with the pid it names a process for the life of the machine.
    pub start_time: u64,
    pub zombie: bool,
    /// A thread of the kernel's: it has no program, so it is nobody's child of ours.
    pub kernel: bool,
}

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`, in the flags of `proc_pid_stat(5)`.
const KERNEL_THREAD: u64 = 0x0020_0000;

pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name is in parentheses and may hold anything, spaces and parentheses too: fields count from the last `)`.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        kernel: fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
    })
}

/// Every process id of the machine, as far as `/proc` shows them.
pub fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// What a process tells of the environment that it was started with.
pub enum Environment {
    Told(Vec<u8>),
    /// Nothing yet: it is in the middle of `execve` (its new image has none for a moment), or it ended since it was
    /// listed and may have forked before. Look again soon, but a few times only: a process that was started without
    /// any environment looks the same for ever.
    Unsettled,
    /// Another user's, a kernel thread or a zombie: nothing that we started and that can still run.
    Closed,
}

pub fn environment(pid: i32) -> Environment {
    match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) if !environment.is_empty() => Environment::Told(environment),
        Err(problem) if problem.kind() == std::io::ErrorKind::PermissionDenied => {
            Environment::Closed
        }
        _ if stat(pid).is_some_and(|stat| stat.zombie || stat.kernel) => Environment::Closed,
        _ => Environment::Unsettled,
    }
}

impl Environment {
    /// Whether one entry (`NAME=value`) satisfies `wanted`.
    pub fn has(&self, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.entries().any(wanted)
    }

    /// What follows `start` (`NAME=` or more).
    pub fn value(&self, start: &[u8]) -> Option<Vec<u8>> {
        self.entries()
            .find_map(|entry| entry.strip_prefix(start).map(<[u8]>::to_vec))
    }

    pub fn is_unsettled(&self) -> bool {
        matches!(self, Self::Unsettled)
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let told: &[u8] = match self {
            Self::Told(environment) => environment,
            Self::Unsettled | Self::Closed => &[],
        };
        told.split(|byte| *byte == 0)
    }
}

/// The live descendants of `root` (which is not one of them), parents before their children: signalled in this order, a
/// shell is gone before it could see its command end and go on with the next one. One look is not atomic: a process
/// whose parent ends meanwhile can be missed, so callers look again until the kernel says that no child is left.
pub fn descendants(root: i32) -> Vec<Stat> {
    let stats: HashMap<i32, Stat> = all_pids()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let depth = |pid: i32| {
        let mut at = pid;
        // A chain is at most as long as there are processes; reused pids must not make it endless.
        for depth in 0..stats.len() {
            match stats.get(&at) {
                Some(stat) if stat.parent == root => return Some(depth),
                Some(stat) => at = stat.parent,
                None => return None,
            }
        }
        None
    };
    let mut found: Vec<(usize, Stat)> = stats
        .values()
        .filter(|stat| !stat.zombie && stat.pid != root)
        .filter_map(|stat| Some((depth(stat.pid)?, *stat)))
        .collect();
    found.sort_by_key(|(depth, stat)| (*depth, stat.start_time));
    found.into_iter().map(|(_, stat)| stat).collect()
}

/// What a process is called, for people.
pub fn name(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(32)
        .collect()
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// The process is gone, or is another one than was meant.
    NotMeant,
    /// The process is there and is meant, but the system does not let us signal it: a tool became another user.
    Denied,
}

/// Sends `signal` to `pid` if `is_meant` still says so once the process is pinned.
pub fn signal_if(pid: i32, signal: Signal, is_meant: impl FnOnce() -> bool) -> Delivery {
    let Some(pid) = Pid::from_raw(pid) else {
        return Delivery::NotMeant;
    };
    #[cfg(target_os = "linux")]
    let sent = {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Delivery::NotMeant;
        };
        if !is_meant() {
            return Delivery::NotMeant;
        }
        pidfd_send_signal(&pinned, signal)
    };
    #[cfg(not(target_os = "linux"))]
    let sent = {
        if !is_meant() {
            return Delivery::NotMeant;
        }
        rustix::process::kill_process(pid, signal)
    };
    match sent {
        Ok(()) => Delivery::Sent,
        Err(rustix::io::Errno::PERM) => Delivery::Denied,
        Err(_) => Delivery::NotMeant,
    }
}

/// Changes with every boot of the machine; empty where the system does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Resident memory of a process in bytes, 0 when unknown.
pub fn rss_bytes(pid: u32) -> u64 {
    // `status` tells kilobytes; `statm` would tell pages, whose size differs between machines.
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:").map_or(0, |kilobytes| kilobytes * 1024)
}

/// The machine's memory.
pub fn memory_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemTotal:").map(|kilobytes| kilobytes * 1024)
}

fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Closes every descriptor but the standard ones. Launchers leak theirs into us, and a warden that kept one could keep
/// somebody's pipe or lock alive for as long as its child lives.
///
/// To be called before this process has opened anything.
#[allow(unsafe_code)]
pub fn close_inherited() {
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // SAFETY: borrowed for one fcntl call that neither closes nor keeps it; it fails for the listing's own
        // descriptor, which is closed by now.
        let is_open = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok();
        if is_open {
            // SAFETY: it is open, and nothing in this process owns it: nothing was opened here yet.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let fields = "S 7 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        let stat = parse_stat(42, &format!("42 (a) (b c) {fields}")).unwrap();
        assert_eq!(stat.parent, 7);
        assert_eq!(stat.start_time, 987_654);
        assert!(!stat.zombie);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found_with_its_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all_pids().contains(&own));
        assert!(stat(own).unwrap().start_time > 0);
        assert!(rss_bytes(std::process::id()) > 100_000);
        assert!(!boot_id().is_empty());
    }
}
