//! This machine from the command line, without a deployment: its identity stays, its tools are looked for where the PATH
//! says, and what needs a token says how one looks.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::home;

fn tool(tools: &Value, name: &str) -> Value {
    let tools = tools["tools"].as_array().cloned().unwrap_or_default();
    let found = tools.into_iter().find(|tool| tool["name"] == name);
    found.unwrap_or(Value::Null)
}

#[test]
fn the_identity_survives_restarts_and_a_reset_makes_another_machine() {
    let home = home();
    let id = || home.run(["machine", "show", "--json"]).exits(0).json()["machineId"].clone();
    let first = id();
    assert_eq!(first, id());
    home.run(["machine", "rename", ""]).exits(2);
    home.run(["machine", "reset"]).exits(2);
    home.run(["machine", "reset", "--yes"]).exits(0);
    assert_ne!(first, id());
}

#[test]
fn an_identity_of_the_chatroom_is_adopted() {
    let home = home();
    let folder = std::path::Path::new(home.get("HOME")).join(".chatroom");
    std::fs::create_dir_all(&folder).unwrap();
    let id = "6b1f8a52-3f0b-4c55-9a51-2f5d7a1f0c11";
    let file = json!({ "version": "1", "machineId": id, "hostname": "old", "os": "linux" });
    std::fs::write(folder.join("machine.json"), file.to_string()).unwrap();
    let shown = home.run(["machine", "show", "--json"]).exits(0).json();
    assert_eq!(shown["machineId"], id, "{shown}");
    // Once: what becomes of that file later is none of ours.
    std::fs::remove_dir_all(folder).unwrap();
    let shown = home.run(["machine", "show", "--json"]).exits(0).json();
    assert_eq!(shown["machineId"], id, "{shown}");
}

#[test]
fn tools_are_found_broken_or_absent() {
    let mut home = home();
    let bin = home.dir("bin");
    home.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let claude = bin.join("claude");
    std::fs::write(&claude, "#!/bin/sh\necho '2.1.197 (Claude Code)'\n").unwrap();
    std::fs::set_permissions(&claude, PermissionsExt::from_mode(0o755)).unwrap();
    symlink(bin.join("nowhere"), bin.join("codex")).unwrap();
    let found = home.run(["machine", "tools", "--json"]).exits(0).json();
    let claude = tool(&found, "claude");
    assert_eq!(
        (&claude["state"], &claude["version"]),
        (&json!("found"), &json!("2.1.197")),
        "{found}"
    );
    assert_eq!(tool(&found, "codex")["state"], "broken", "{found}");
    assert_eq!(tool(&found, "gemini")["state"], "absent", "{found}");
}

#[test]
fn enrolling_without_a_usable_token_says_how_one_looks() {
    let home = home();
    let ran = home.run(["machine", "enrol", "--no-input"]).exits(2);
    assert!(
        ran.stderr.contains("no machine token was given"),
        "{}",
        ran.stderr
    );
    let ran = home
        .run_with_input(
            ["machine", "enrol", "--token-stdin"],
            "machine_a:worker_b\n",
        )
        .exits(3);
    assert!(
        ran.stderr.contains("machine_<machine_id>:secret_<secret>"),
        "{}",
        ran.stderr
    );
    let ran = home
        .run_with_input(
            ["machine", "enrol", "--token-stdin"],
            "machine_a:worker_b:secret_c\n",
        )
        .exits(2);
    assert!(
        ran.stderr.contains("this is a worker's token"),
        "{}",
        ran.stderr
    );
}
