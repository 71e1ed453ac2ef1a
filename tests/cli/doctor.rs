//! `orchestrator doctor`, without a deployment: what is missing, what others can read, what cannot be written.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use orchestrator_test_support::Home;
use serde_json::{Value, json};

use crate::home;

/// A program that tells a version.
fn program(home: &Home, name: &str, version: &str) {
    let path = home.dir("bin").join(name);
    std::fs::write(&path, format!("#!/bin/sh\necho \"{version}\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything that is needed, from a PATH of its own.
fn equipped() -> Home {
    let mut home = home();
    for (name, version) in [
        ("npm", "11.1.0"),
        ("git", "git version 2.47.3"),
        ("goose", " 1.9.0"),
    ] {
        program(&home, name, version);
    }
    let bin = home.dir("bin");
    home.set("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    home
}

/// A configuration with nothing wrong in it.
fn serving(home: &Home) {
    let token = format!("machine_m1:worker_w1:secret_{}", "s".repeat(32));
    let url = "http://127.0.0.1:1";
    home.write_config(&json!({ "workers": [
        { "token": token, "working_directory": home.dir("shop"), "convex_url": url },
    ] }));
}

fn findings(home: &Home, args: &[&str], exit: i32) -> Vec<Value> {
    let all = ["doctor", "--json", "--offline"].iter().chain(args);
    let told = home.run(all).exits(exit).json();
    assert_eq!(told["schema"], 1);
    told["findings"].as_array().unwrap().clone()
}

fn of<'f>(findings: &'f [Value], check: &str) -> Vec<&'f Value> {
    let found: Vec<_> = findings
        .iter()
        .filter(|one| one["check"] == check)
        .collect();
    assert!(!found.is_empty(), "no {check} in {findings:?}");
    found
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_fails_says_what_to_do_and_nothing_is_made() {
    let home = equipped();
    let before = home.state().exists();
    let findings = findings(&home, &[], 1);
    let configuration = of(&findings, "configuration")[0];
    assert_eq!(configuration["level"], "fail");
    assert_eq!(configuration["next"], "orchestrator init");
    for finding in &findings {
        let is_well = finding["level"] == "ok";
        assert_eq!(finding["next"].is_null(), is_well, "{finding}");
    }
    assert_eq!(of(&findings, "git")[0]["level"], "ok");
    assert!(
        of(&findings, "git")[0]["text"]
            .as_str()
            .unwrap()
            .starts_with("git 2.47.3 at ")
    );
    assert!(
        of(&findings, "goose")[0]["text"]
            .as_str()
            .unwrap()
            .starts_with("goose 1.9.0 at ")
    );
    assert_eq!(home.state().exists(), before);
    // The same for people: each line is one of three, or what to do about it.
    let told = home.run(["doctor", "--offline"]).exits(1);
    for line in told.stdout.lines() {
        let begins = ["ok    ", "warn  ", "fail  ", "      next: "];
        assert!(begins.iter().any(|word| line.starts_with(word)), "{line}");
    }
}

#[test]
fn a_missing_tool_is_named_with_what_needs_it() {
    let mut home = equipped();
    home.set("PATH", "/nonexistent");
    home.set("ORCHESTRATOR_OPENCODE_BIN", "");
    home.write_config_text("{\"workers\": []}");
    let findings = findings(&home, &[], 1);
    assert_eq!(of(&findings, "opencode")[0]["level"], "fail");
    assert_eq!(of(&findings, "git")[0]["level"], "warn");
    assert!(
        of(&findings, "goose")[0]["text"]
            .as_str()
            .unwrap()
            .contains("tasks need it")
    );
}

#[test]
fn secrets_that_others_can_read_are_warned_about_and_closed_on_demand() {
    let home = equipped();
    serving(&home);
    let config = home.config_file();
    let local = PathBuf::from(home.get("XDG_DATA_HOME")).join("opencode-orchestrator/local");
    std::fs::create_dir_all(&local).unwrap();
    let key = local.join("owner.key");
    let elsewhere = home.path().join("of somebody");
    for (path, bits) in [(&config, 0o644), (&key, 0o640), (&elsewhere, 0o644)] {
        if !path.exists() {
            std::fs::write(path, "x").unwrap();
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }
    std::os::unix::fs::symlink(&elsewhere, local.join("link")).unwrap();
    let found = findings(&home, &[], 0);
    let exposed = of(&found, "secrets");
    assert_eq!(exposed.len(), 2, "{exposed:?}");
    for finding in exposed {
        assert_eq!(finding["level"], "warn");
        assert_eq!(finding["next"], "orchestrator doctor --fix");
    }
    assert_eq!((mode(&config), mode(&key)), (0o644, 0o640));
    let fixed = findings(&home, &["--fix"], 0);
    assert!(of(&fixed, "secrets").iter().all(|one| one["fixed"] == true));
    assert_eq!((mode(&config), mode(&key)), (0o600, 0o600));
    assert_eq!(mode(&elsewhere), 0o644, "not ours");
    assert_eq!(of(&findings(&home, &[], 0), "secrets")[0]["level"], "ok");
}

#[test]
fn a_state_folder_that_cannot_be_made_and_a_socket_path_that_is_too_long_fail() {
    let mut home = equipped();
    home.write_config_text("{\"workers\": []}");
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("state").display().to_string();
    let found = findings(&home, &["--state-dir", below.as_str()], 1);
    assert_eq!(of(&found, "state")[0]["level"], "fail");
    home.set("XDG_RUNTIME_DIR", "");
    let long = home.path().join("x".repeat(100)).display().to_string();
    let found = findings(&home, &["--state-dir", long.as_str()], 1);
    let socket = of(&found, "socket")[0];
    assert_eq!(socket["level"], "fail");
    assert!(
        socket["text"].as_str().unwrap().contains("too long"),
        "{socket}"
    );
}

#[test]
fn a_broken_configuration_and_an_outdated_service_are_found() {
    let mut home = equipped();
    serving(&home);
    home.run(["service", "install", "--no-start"]).exits(0);
    let found = findings(&home, &[], 0);
    assert_eq!(of(&found, "service")[0]["level"], "ok");
    let path = format!("/opt/new:{}", home.get("PATH"));
    home.set("PATH", path);
    home.write_config_text("{\"workers\": 7}");
    let found = findings(&home, &[], 1);
    assert_eq!(
        of(&found, "service")[0]["next"],
        "orchestrator service install"
    );
    assert_eq!(
        of(&found, "configuration")[0]["next"],
        "orchestrator config check"
    );
}
