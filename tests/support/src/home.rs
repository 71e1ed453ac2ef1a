//! A home of its own: every folder a run can touch, an environment with nothing else in it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::agents::agents;
use crate::command::to_end;
use crate::processes;
use crate::supervisor::Supervisor;
use crate::wait::DEADLINE;

pub struct Home {
    root: TempDir,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Panics with everything it printed unless it exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

impl Home {
    /// `binary` is `env!("CARGO_BIN_EXE_orchestrator")` of the calling test. Supervisors find the tests' OpenCode, and
    /// install none.
    pub fn new(binary: &str) -> Self {
        let mut home = Self::bare(binary);
        let opencode = agents(Path::new(binary));
        home.set("ORCHESTRATOR_OPENCODE_BIN", opencode.display().to_string());
        home
    }

    /// A home on a machine where nobody has installed anything.
    pub fn bare(binary: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("orch")
            .tempdir()
            .expect("a temporary folder");
        let mut environment = BTreeMap::new();
        for (name, folder) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "home/.config"),
            ("XDG_DATA_HOME", "home/.local/share"),
            ("XDG_STATE_HOME", "home/.local/state"),
            ("XDG_CACHE_HOME", "home/.cache"),
            ("XDG_RUNTIME_DIR", "run"),
            ("TMPDIR", "tmp"),
        ] {
            let path = root.path().join(folder);
            fs::create_dir_all(&path).expect("a folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
            environment.insert(name.to_owned(), path.display().to_string());
        }
        environment.insert("PATH".to_owned(), std::env::var("PATH").unwrap_or_default());
        if let Ok(opencode) = std::env::var("ORCHESTRATOR_OPENCODE_BIN") {
            environment.insert("ORCHESTRATOR_OPENCODE_BIN".to_owned(), opencode);
        }
        Self {
            root,
            binary: PathBuf::from(binary),
            environment,
        }
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub fn get(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// Where the supervisors of this home keep lock, outbox and logs.
    pub fn state(&self) -> PathBuf {
        Path::new(self.get("XDG_STATE_HOME")).join("opencode-orchestrator")
    }

    /// The folders stay when this is dropped.
    pub fn keep(&mut self) {
        self.root.disable_cleanup(true);
    }

    /// A directory to work in, made on first use.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.root.path().join("work").join(name);
        fs::create_dir_all(&path).expect("a folder");
        path.canonicalize().expect("a real path")
    }

    pub fn command<I, S>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.foreign(&self.binary);
        command.args(args);
        command
    }

    /// Another program, started in this home.
    pub fn foreign(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.dir("shop"));
        command
    }

    pub fn run<I, S>(&self, args: I) -> Ran
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.finish(self.command(args), "")
    }

    pub fn run_with_input<I, S>(&self, args: I, input: &str) -> Ran
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.finish(self.command(args), input)
    }

    /// Runs a command to its end; kills it at the deadline.
    pub fn finish(&self, command: Command, input: &str) -> Ran {
        to_end(command, input, DEADLINE)
    }

    /// Starts `orchestrator run …` and waits until `ps` answers.
    pub fn supervisor<I, S>(&self, args: I) -> Supervisor<'_>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        Supervisor::start(self, self.command(args))
    }

    /// Starts the supervisor under something that starts it, such as a shell that sets a limit.
    pub fn supervisor_by(&self, command: Command) -> Supervisor<'_> {
        Supervisor::start(self, command)
    }

    /// The processes that carry this home in their environment.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes::with_environment(&self.root.path().display().to_string())
    }
}

impl Drop for Home {
    /// Nothing is left behind: what still runs a moment after the test is named, ended, and fails it.
    fn drop(&mut self) {
        if std::env::var_os("KEEP_TEST_DIRS").is_some() {
            self.root.disable_cleanup(true);
            eprintln!("kept: {}", self.root.path().display());
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = self.processes();
        for (pid, _) in &left {
            if let Some(pid) = rustix::process::Pid::from_raw(*pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        assert!(
            left.is_empty() || std::thread::panicking(),
            "left behind: {left:?}"
        );
    }
}
