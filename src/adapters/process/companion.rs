//! Our own binary as a second process that ends with us (the scripted model of `--demo`). Companions need no warden: they are ours,
//! start nothing, and end when their stdin closes.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::environment;

/// A process that lives as long as this value (or this process, whichever ends first).
#[derive(Debug)]
pub struct Companion {
    child: tokio::process::Child,
    first_line: String,
}

impl Companion {
    /// Starts `program` and waits for the first line it prints.
    pub async fn start(program: &Path, args: &[&str], within: Duration) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(environment::allowed(environment::ours(), &[]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            // Ctrl+C in the terminal is for the supervisor, which ends its companions last.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first_line = tokio::time::timeout(within, lines.next_line())
            .await
            .map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "it did not say that it is ready")
            })??
            .ok_or_else(|| io::Error::other("it ended before it was ready"))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, first_line })
    }

    pub fn first_line(&self) -> &str {
        &self.first_line
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Closes its stdin and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(2), self.child.wait())
            .await
            .is_err()
        {
            let _ = self.child.kill().await;
        }
    }
}
