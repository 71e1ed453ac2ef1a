//! What is left when the supervisor has stopped in order: no process, no held lock, no journal entry, no temporary file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_test_support::Home;
use rusqlite::{Connection, OpenFlags};

use crate::stage::Stage;

pub fn look(stage: &Stage) {
    let state = Path::new(stage.home.get("XDG_STATE_HOME")).join("opencode-orchestrator");
    stage.within(Duration::from_secs(5), "no process is left", || {
        stage.home.processes().is_empty()
    });
    for (pid, command) in stage.home.processes() {
        stage.verdict.wrong("orphan", format!("{pid} {command}"));
    }
    let leak = |what: String| stage.verdict.wrong("leak", what);
    for lock in files(&state.join("run/locks")) {
        if File::open(&lock).is_ok_and(|file| file.try_lock().is_err()) {
            leak(format!("{} is held", lock.display()));
        }
    }
    for folder in ["children", "run/tmp"] {
        for file in files(&state.join(folder)) {
            leak(format!("{} is left", file.display()));
        }
    }
    for file in all_files(Path::new(stage.home.get("TMPDIR"))) {
        leak(format!("{} is left", file.display()));
    }
    for file in all_files(&state) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".new") || name.ends_with(".sock") || name.contains("damaged") {
            leak(format!("{} is left", file.display()));
        }
    }
    for socket in files(&Path::new(stage.home.get("XDG_RUNTIME_DIR")).join("opencode-orchestrator"))
    {
        leak(format!("{} is left", socket.display()));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    files(folder)
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                all_files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The deployment's file, after its process was killed: what counts is there without a goodbye.
pub fn look_at_database(stage: &Stage) {
    stage.deployment.lock().unwrap().kill();
    let file = database(&stage.server);
    let opened = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let checked = opened.and_then(|database| {
        let text: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let failures: u64 =
            database.query_row("SELECT count(*) FROM job_failures", [], |row| row.get(0))?;
        Ok((text, failures))
    });
    match checked {
        Ok((text, 0)) if text == "ok" => {}
        other => stage
            .verdict
            .wrong("file", format!("{}: {other:?}", file.display())),
    }
}

fn database(server: &Home) -> PathBuf {
    Path::new(server.get("XDG_DATA_HOME")).join("opencode-orchestrator/local/local.sqlite3")
}
