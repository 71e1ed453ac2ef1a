//! What waits, fails or took long is told by the user's own program: once, and not to whoever looks at it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestrator_test_support::{Api, Stage, eventually, script};
use serde_json::{Value, json};

use crate::ORCHESTRATOR;

/// A program that keeps what it is told, and shows what everybody can read of it.
struct Told {
    program: PathBuf,
    heard: PathBuf,
}

impl Told {
    fn new(stage: &Stage) -> Self {
        let folder = stage.home.dir("told");
        let (program, heard) = (folder.join("tell-me"), folder.join("heard"));
        let text = format!(
            "#!/bin/sh\n{{ cat; echo \"$# ${{WORKER_TOKEN-none}} ${{DEMO_API_KEY-none}}\"; }} >> '{}'\n",
            heard.display()
        );
        fs::write(&program, text).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("a mode");
        Self { program, heard }
    }

    fn notices(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.heard).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn has(&self, event: &str, session: &str) -> bool {
        self.notices()
            .iter()
            .any(|notice| notice["event"] == event && notice["session"] == session)
    }
}

fn look(api: &Api, session: Option<&str>) {
    let mut args = json!({ "viewerId": "v1" });
    if let Some(session) = session {
        args["sessionId"] = session.into();
    }
    api.mutation("viewers:look", &args);
}

#[test]
fn nobody_is_told_twice_or_told_what_they_look_at() {
    let mut stage = Stage::new(ORCHESTRATOR);
    stage.home.set("DEMO_API_KEY", "of-a-provider");
    // A slow start is none of this, and a machine that runs many of these tests is slow.
    stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "80s");
    let told = Told::new(&stage);
    let program = told.program.display().to_string();
    let flags = ["--notify-command", program.as_str(), "--notify-after", "1"];
    let supervisor = stage.run_with(&flags);
    let api = stage.api(&supervisor);
    let worker = stage.worker(&supervisor);

    let long = script(&json!([[{ "text": "one" }, { "sleep": 50 }, { "text": " two" }]]));
    let (first, turn) = api.send("m1", &worker, &long);
    let row = api.closed(&first, &turn);
    assert_eq!(row["state"], "complete", "{row}");
    eventually("the long answer is told", || told.has("ended", &first));
    let notice = &told.notices()[0];
    assert_eq!(notice["worker"], "shop");
    assert_eq!(notice["state"], "complete");
    let heard = fs::read_to_string(&told.heard).expect("what was heard");
    assert!(heard.contains("0 none none"), "arguments or keys: {heard}");

    // Somebody looks at the next answer, and at the one after it nobody.
    let slow = script(&json!([[{ "text": "seen" }, { "sleep": 1500 }, { "text": " by me" }]]));
    let (seen, turn) = api.send("m2", &worker, &slow);
    look(&api, Some(&seen));
    api.closed(&seen, &turn);
    let (unseen, turn) = api.send("m3", &worker, &long);
    api.closed(&unseen, &turn);
    eventually("the one that nobody sees is told", || {
        told.has("ended", &unseen)
    });
    assert!(!told.has("ended", &seen), "{:?}", told.notices());
    look(&api, None);

    let before = told.notices().len();
    assert!(supervisor.terminate().success());
    let supervisor = stage.run_with(&flags);
    let api = stage.api(&supervisor);
    let refused = script(&json!([{ "status": 400 }]));
    let (failing, turn) = api.send("m4", &worker, &refused);
    let row = api.closed(&failing, &turn);
    assert_eq!(row["state"], "failed", "{row}");
    eventually("the failure is told", || told.has("failed", &failing));
    assert_eq!(told.notices().len(), before + 1, "{:?}", told.notices());
    assert!(supervisor.terminate().success());
}
