//! Twenty busy sessions at once. The assistants are the fake OpenCode: what is looked at is the supervisor.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use orchestrator_test_support::{Home, Stage, eventually, processes, text_of};
use serde_json::json;

use crate::{ORCHESTRATOR, fake_opencode};

const WORKERS: usize = 5;
/// What a worker may have alive at once.
const SESSIONS: usize = 4;

/// Puts a shell where npm would put OpenCode. Asked to `serve`, it runs the script of that name in the worker's directory,
/// and that becomes the fake.
fn pretended(home: &Home) -> PathBuf {
    let package = home
        .path()
        .join("pretended/node_modules/opencode-linux-x64");
    fs::create_dir_all(package.join("bin")).unwrap();
    let binary = package.join("bin/opencode");
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let about = json!({ "name": "opencode-linux-x64", "version": "1.18.33" });
    fs::write(package.join("package.json"), about.to_string()).unwrap();
    binary
}

/// The arguments of a supervisor over directories whose assistants are fakes.
fn fakes(stage: &mut Stage) -> Vec<String> {
    let binary = pretended(&stage.home);
    stage
        .home
        .set("ORCHESTRATOR_OPENCODE_BIN", binary.display().to_string());
    stage.home.set("ORCHESTRATOR_MAX_ASSISTANTS", "64");
    stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "60s");
    let mut args: Vec<String> = ["run", "--demo", "--port", "0", "--local"]
        .map(str::to_owned)
        .to_vec();
    let fake = std::env::current_exe().unwrap();
    for number in 0..WORKERS {
        let directory = stage.home.dir(&format!("dir{number}"));
        let text = format!(
            "export {}=well\nexec '{}' --exact fake_opencode::serves --ignored --nocapture\n",
            fake_opencode::AT_START,
            fake.display()
        );
        fs::write(directory.join("serve"), text).unwrap();
        args.push(directory.display().to_string());
    }
    args
}

#[test]
fn sigterm_with_twenty_busy_sessions_closes_every_turn_and_leaves_nothing() {
    let mut stage = Stage::new(ORCHESTRATOR);
    let args = fakes(&mut stage);
    let supervisor = stage.home.supervisor(args);
    supervisor.workers_are("ready");
    let (ps, api) = (supervisor.ps(), stage.api(&supervisor));
    let mut turns = Vec::new();
    for (number, worker) in ps["workers"]
        .as_array()
        .expect("workers")
        .iter()
        .enumerate()
    {
        for session in 0..SESSIONS {
            let id = format!("m{number}-{session}");
            turns.push(api.send(&id, &json!({ "workerId": worker["id"] }), "deltas=5 hang"));
        }
    }
    eventually("all twenty stream", || {
        turns
            .iter()
            .all(|(_, turn)| api.streamed(turn).contains("4 "))
    });
    let descendants = processes::descendants(supervisor.pid());
    assert!(
        descendants.len() >= 2 * WORKERS * SESSIONS,
        "{}",
        descendants.len()
    );
    let begun = Instant::now();
    assert!(supervisor.terminate().success());
    let took = begun.elapsed();
    println!("TERM → exit with {} busy sessions: {took:?}", turns.len());
    let left: Vec<_> = descendants
        .into_iter()
        .filter(|pid| processes::is_alive(*pid))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");

    // Every turn was closed then, with its text.
    let deployment = stage.home.deployment();
    let api = deployment.api();
    for (session, turn) in &turns {
        let row = api.turn(session, turn);
        assert_eq!(row["state"], "interrupted", "{row}");
        assert!(text_of(&row).contains("0 1 2 3 4 "), "{row}");
    }
}
