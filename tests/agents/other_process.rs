//! Another process of this test binary, to play a supervisor that is killed, or one whose limits are its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

pub const FOLDER: &str = "AGENTS_TEST_FOLDER";

pub struct OtherProcess {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl OtherProcess {
    /// Runs an ignored test of this binary in a process of its own.
    pub fn run(test: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that begins with `start`, without it. Blocks.
    pub fn says(&mut self, start: &str) -> String {
        let mut seen = Vec::new();
        for line in &mut self.lines {
            let line = line.unwrap();
            if let Some((_, rest)) = line.split_once(start) {
                return rest.trim().to_owned();
            }
            seen.push(line);
        }
        panic!("it ended without `{start}`:\n{}", seen.join("\n"));
    }

    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end. Blocks.
    pub fn end(mut self) -> ExitStatus {
        self.lines.by_ref().for_each(drop);
        self.child.wait().unwrap()
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder that the other process was given; `None` in the ordinary run of an ignored test.
pub fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(std::path::PathBuf::from)
}
