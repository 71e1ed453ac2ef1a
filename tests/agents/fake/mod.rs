//! A tiny OpenCode of our own for faults that the real one does not have on request: a script that becomes this test binary
//! and serves the calls that the adapter makes ([`program`]). What goes wrong at the start stands in the script's
//! environment, what goes wrong in a turn stands in the prompt.

pub mod program;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use orchestrator::adapters::opencode::{OpenCodeAgents, OpenCodeConfig};
use orchestrator_actors::ports::agent::{AgentError, Agents, OpenSpec};

use crate::harness::{self, PATIENCE, Session, eventually, orchestrator, processes_with};

use program::AT_START;

pub struct FakeWorld {
    pub config: OpenCodeConfig,
    pub agents: OpenCodeAgents,
    pub folder: tempfile::TempDir,
}

impl FakeWorld {
    pub fn new() -> Self {
        Self::with("well", |_| {})
    }

    pub fn with(at_start: &str, change: impl FnOnce(&mut OpenCodeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("work")).unwrap();
        let mut config = config(folder.path(), at_start);
        change(&mut config);
        Self {
            agents: OpenCodeAgents::new(config.clone()).unwrap(),
            config,
            folder,
        }
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("work")
    }

    pub fn spec(&self, session: &str) -> OpenSpec {
        harness::spec(&self.work(), session)
    }

    pub async fn open(&self, session: &str) -> Session {
        self.try_open(session).await.expect("an open agent")
    }

    pub async fn try_open(&self, session: &str) -> Result<Session, AgentError> {
        Session::of(self.agents.open(self.spec(session)).await?).await
    }

    pub fn left(&self) -> Vec<String> {
        processes_with(&self.folder.path().display().to_string())
    }

    /// The test's last word: no process is left, and no temporary folder.
    pub async fn end(self) {
        eventually("no process is left", || self.left().is_empty()).await;
        let temporary = self.config.run_dir.join("tmp");
        let is_empty =
            || std::fs::read_dir(&temporary).map_or(true, |mut all| all.next().is_none());
        eventually("no temporary folder is left", is_empty).await;
    }
}

pub fn config(folder: &Path, at_start: &str) -> OpenCodeConfig {
    let script = folder.join("fake-opencode");
    let binary = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\nexport {AT_START}='{at_start}'\nexec '{}' --exact fake::program::serves --ignored --nocapture\n",
        binary.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let mut config = OpenCodeConfig::new(
        script,
        folder.join("data"),
        folder.join("run"),
        folder.join("state"),
    );
    config.warden = orchestrator();
    config.deadlines.listening = PATIENCE;
    config.deadlines.ready = PATIENCE;
    config
}
