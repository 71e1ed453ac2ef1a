//! Our own binary in the background (`run --detach`): in a session of its own, so that it outlives us and our terminal. Until it
//! is up, what it says goes through two pipes to us; then it [leaves](leave), ends both with a mark, and says the rest into a
//! file. A pipe that ends without the mark is a start that failed, and the exit code says why.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStderr, ChildStdout};

/// No text of ours has it.
pub const MARK: u8 = 0;

/// A line of its own: the pipe may stay open, because a process that we started has it, too.
const END: &[u8] = &[MARK, b'\n'];

/// Whoever manages us as a service does not manage what we start.
const NOT_ITS_OWN: &[&str] = &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// A start that we wait for. Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Background {
    child: Child,
    pid: u32,
}

/// Starts it with one more variable, and gives what it says. It inherits our environment, because it is us.
#[allow(unsafe_code)]
pub fn start(
    program: &Path,
    args: &[OsString],
    mark: (&str, &Path),
) -> io::Result<(Background, ChildStdout, ChildStderr)> {
    use std::os::unix::process::CommandExt;

    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .env(mark.0, mark.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in NOT_ITS_OWN {
        command.env_remove(name);
    }
    // SAFETY: setsid is async-signal-safe and nothing else runs between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    let mut child = tokio::process::Command::from(command).spawn()?;
    let gone = || io::Error::other("it ended at once");
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let stderr = child.stderr.take().ok_or_else(gone)?;
    let pid = child.id().ok_or_else(gone)?;
    Ok((Background { child, pid }, stdout, stderr))
}

impl Background {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        // It is our child and has not been waited for: the pid is its own.
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Its exit code, once it has ended; none when a signal ended it.
    pub async fn wait(&mut self) -> Option<i32> {
        self.child.wait().await.ok()?.code()
    }
}

/// The other side: we are up. What is said from here on goes into `log`. One that was started again in its own process
/// says it there already, and goes on.
pub fn leave(log: &Path) -> io::Result<()> {
    // Appended to: what is written over an older descriptor leaves no hole.
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)?;
    if is_stdout(&log)? {
        return Ok(());
    }
    log.set_len(0)?;
    // Standard error first: whoever reads has all of it when standard output says that we are up.
    let mut err = io::stderr().lock();
    err.write_all(END)?;
    rustix::stdio::dup2_stderr(&log)?;
    let mut out = io::stdout().lock();
    out.write_all(END)?;
    out.flush()?;
    rustix::stdio::dup2_stdout(&log)?;
    Ok(())
}

fn is_stdout(file: &File) -> io::Result<bool> {
    let [one, other] = [
        rustix::fs::fstat(file)?,
        rustix::fs::fstat(rustix::stdio::stdout())?,
    ];
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}
