//! One process of the product that is killed and started again: what it prints goes to one file over all its lives.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use orchestrator_test_support::Home;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::ORCHESTRATOR;

pub struct Daemon {
    log: PathBuf,
    child: Option<Child>,
    /// Lives so far.
    pub lives: u32,
    pub started: Instant,
}

impl Daemon {
    pub fn new(log: &Path) -> Self {
        Self {
            log: log.to_owned(),
            child: None,
            lives: 0,
            started: Instant::now(),
        }
    }

    /// Starts it and waits for nothing.
    pub fn start(&mut self, home: &Home, args: &[&str]) {
        assert!(self.child.is_none(), "it runs already");
        let log = open(&self.log);
        // Without the signal a write beyond the limit fails itself, as on a full disk.
        let mut command: Command = home.foreign("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", ORCHESTRATOR])
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        self.started = Instant::now();
        self.child = Some(command.spawn().expect("a process"));
        self.lives += 1;
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            send(pid, signal);
        }
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("a status")?;
        self.child = None;
        Some(status)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.expect("a log")
}

/// To a process that may be gone already.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// No file of these processes can grow beyond so many bytes; `None` ends it.
pub fn limit_files(pids: impl IntoIterator<Item = u32>, bytes: Option<u64>) {
    limit(pids, Resource::Fsize, bytes);
}

/// Changes the soft limit only, so that it can be taken back.
pub fn limit(pids: impl IntoIterator<Item = u32>, resource: Resource, to: Option<u64>) {
    for pid in pids {
        let Some(pid) = Pid::from_raw(pid as i32) else {
            continue;
        };
        let mine = rustix::process::getrlimit(resource);
        let limit = Rlimit {
            current: to.or(mine.current),
            maximum: mine.maximum,
        };
        let _ = prlimit(Some(pid), resource, limit);
    }
}
