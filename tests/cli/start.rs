//! `run` that cannot start: one clear error each, and its exit code.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;
use orchestrator_test_support::Home;
use serde_json::json;

use crate::{home, told};

const TOKEN: &str = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";

fn one_worker(directory: &str) -> serde_json::Value {
    json!({"workers": [{
        "token": TOKEN, "working_directory": directory, "convex_url": "https://a.convex.cloud",
    }]})
}

#[test]
fn without_a_configuration_a_template_is_left_behind() {
    let home = home();
    assert_snapshot!(told(&home, &home.run(["run"])));
    let text = std::fs::read_to_string(home.config_file()).unwrap();
    assert_eq!(text, home.run(["config", "template"]).stdout);
    let mode = std::fs::metadata(home.config_file()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    // The template itself is answered with what is missing in it.
    let ran = home.run(["run"]).exits(3);
    assert!(ran.stderr.contains("workers.0.token"), "{}", ran.stderr);
}

#[test]
fn a_named_configuration_that_is_missing_is_exit_3_and_nothing_is_made() {
    let home = home();
    let folder = home.path().join("not/there");
    let file = folder.join("x.json").display().to_string();
    let ran = home.run(["run", "--config", &file]).exits(3);
    assert!(ran.stderr.contains("hint"), "{}", ran.stderr);
    assert!(!folder.exists());
}

#[test]
fn a_bad_configuration_is_exit_3() {
    let home = home();
    home.write_config(&json!({"workers": [{"token": "x"}]}));
    let ran = home.run(["run"]).exits(3);
    for part in [
        "workers.0.token",
        "workers.0.working_directory",
        "Convex URL is required",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn a_bad_token_is_exit_3() {
    let home = home();
    let mut config = one_worker("~/blog");
    config["workers"][0]["token"] = json!("machine_abc123:worker_xyz789");
    home.write_config_text(&serde_json::to_string_pretty(&config).unwrap());
    assert_snapshot!(told(&home, &home.run(["run"])));
}

#[test]
fn a_missing_directory_is_exit_1() {
    let home = home();
    assert_snapshot!(told(&home, &home.run(["run", "--local", "nowhere"])));
}

#[test]
fn all_workers_failed_is_exit_1() {
    let home = home();
    home.write_config(&one_worker("~/blog"));
    assert_snapshot!(told(&home, &home.run(["run"])));
}

#[test]
fn an_assistant_that_is_named_and_missing_is_exit_8() {
    let mut home = home();
    home.set("ORCHESTRATOR_OPENCODE_BIN", "/nonexistent/opencode");
    assert_snapshot!(told(&home, &home.run(["run", "--local", "--port", "0"])));
}

#[test]
fn an_assistant_of_another_version_is_exit_8() {
    let mut home = home();
    // A program with a version, and not one that we can drive.
    home.set(
        "ORCHESTRATOR_OPENCODE_BIN",
        env!("CARGO_BIN_EXE_orchestrator"),
    );
    let ran = home.run(["run", "--local", "--port", "0"]).exits(8);
    assert!(
        ran.stderr.contains("ORCHESTRATOR_OPENCODE_BIN is"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn without_an_assistant_and_without_npm_is_exit_8() {
    let mut home = Home::bare(env!("CARGO_BIN_EXE_orchestrator"));
    let empty = home.dir("empty").display().to_string();
    home.set("PATH", empty);
    let ran = home.run(["run", "--local", "--port", "0"]).exits(8);
    assert!(ran.stderr.contains("npm"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn what_is_no_origin_cannot_be_allowed() {
    let home = home();
    let ran = home
        .run([
            "deployment",
            "run",
            "--port",
            "0",
            "--allow-origin",
            "https://chat.example",
            "--allow-origin",
            "chat.example",
        ])
        .exits(2);
    assert!(
        ran.stderr.contains("`chat.example` is not an origin"),
        "{}",
        ran.stderr
    );
}

/// It was accepted, and no page ever had that origin; and it was looked at only once the folder was held.
#[test]
fn an_origin_with_a_star_is_wrong_use_before_anything_is_made() {
    let home = home();
    for command in [["deployment", "run"], ["run", "--local"]] {
        let ran = home
            .run(
                command
                    .into_iter()
                    .chain(["--allow-origin", "https://*.example"]),
            )
            .exits(2);
        assert!(
            ran.stderr.contains("`https://*.example` is not an origin"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_deployment_to_check_has_no_path() {
    let home = home();
    let ran = home
        .run(["deployment", "check", "http://127.0.0.1:9/api"])
        .exits(2);
    assert!(ran.stderr.contains("names a path"), "{}", ran.stderr);
}

#[test]
fn who_rotates_a_worker_is_told_the_command_that_does() {
    let home = home();
    let ran = home.run(["worker", "rotate", "shop"]).exits(2);
    assert!(
        ran.stderr
            .contains("orchestrator worker token shop --rotate"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_port_in_use_is_exit_1_with_another_one_to_try() {
    let home = home();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ran = home
        .run(["run", "--local", "--port", &port.to_string()])
        .exits(1);
    assert!(
        ran.stderr
            .contains(&format!("error: port {port} is in use")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    let ran = home
        .run(["deployment", "run", "--port", &port.to_string()])
        .exits(1);
    assert!(ran.stderr.contains("is in use"), "{}", ran.stderr);
}

#[test]
fn why_the_last_one_ended_is_kept() {
    let home = home();
    home.write_config(&one_worker("~/blog"));
    home.run(["run"]).exits(1);
    let file = Path::new(home.get("XDG_STATE_HOME")).join("opencode-orchestrator/daemon.json");
    let text = std::fs::read_to_string(file).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept["exited"]["code"], 1);
    assert!(!text.contains("def456"));
    let ran = home.run(["ps"]).exits(4);
    assert!(
        ran.stderr.contains("the last one ended at"),
        "{}",
        ran.stderr
    );
}

/// It was told to `orchestrator stop` what is no supervisor, and to read how "the last one" ended that never ran.
#[test]
fn a_start_refused_by_who_holds_the_data_says_whom_and_leaves_no_trace() {
    let home = home();
    let deployment = home.deployment();
    let ran = home.run(["run", "--local", "--port", "0"]).exits(5);
    for part in ["is in use (pid ", "(kill ", "--data DIR", "XDG_DATA_HOME"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("orchestrator stop"), "{}", ran.stderr);
    for command in ["ps", "status", "stop"] {
        let ran = home.run([command]).exits(4);
        assert!(!ran.stderr.contains("last one"), "{}", ran.stderr);
    }
    drop(deployment);
}

#[test]
fn a_configuration_that_cannot_be_read_is_exit_3_with_its_place() {
    let home = home();
    home.write_config_text(&format!(
        "{{\n  \"workers\": [\n    {{ \"token\": \"{TOKEN}\" \"convex_url\": 1 }}\n  ]\n}}\n"
    ));
    let ran = home.run(["run"]).exits(3);
    assert!(
        ran.stderr.contains("Expected comma (workers.json:3:"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("ghi789"), "{}", ran.stderr);
    home.write_config_text("");
    let ran = home.run(["run"]).exits(3);
    assert!(ran.stderr.contains("the file is empty"), "{}", ran.stderr);
    for broken in [b"\xff\xfe{}".to_vec(), vec![b' '; 2 * 1024 * 1024]] {
        std::fs::write(home.config_file(), broken).unwrap();
        let ran = home.run(["run"]).exits(3);
        assert!(ran.stderr.contains("cannot read"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    std::fs::remove_file(home.config_file()).unwrap();
    std::fs::create_dir(home.config_file()).unwrap();
    let ran = home.run(["run"]).exits(3);
    assert!(ran.stderr.contains("cannot read"), "{}", ran.stderr);
}

#[test]
fn a_template_that_cannot_be_left_is_exit_3() {
    let home = home();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let config = file.join("workers.json").display().to_string();
    let ran = home.run(["run", "--config", config.as_str()]).exits(3);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_start_in_the_background_ends_as_it_would_in_the_foreground() {
    let mut home = home();
    home.set("ORCHESTRATOR_OPENCODE_BIN", "/nonexistent/opencode");
    let args = ["run", "--local", "--port", "0", "--detach"];
    let ran = home.run(args).exits(8);
    assert!(
        ran.stderr.contains("/nonexistent/opencode"),
        "{}",
        ran.stderr
    );
    home.write_config(&one_worker("~/blog"));
    let ran = home.run(["run", "--detach"]).exits(1);
    assert!(
        ran.stderr.contains("Failed to start any workers"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_limit_in_the_environment_that_is_no_time_is_exit_2() {
    let mut home = home();
    home.set("ORCHESTRATOR_BOOT_TIMEOUT", "soon");
    let ran = home.run(["run", "--local", "--port", "0"]).exits(2);
    assert!(
        ran.stderr.contains("ORCHESTRATOR_BOOT_TIMEOUT=soon"),
        "{}",
        ran.stderr
    );
}
