//! An OpenCode that is missing, too old, never listening, or listening with a broken configuration. The ones that are not
//! OpenCode are a shell under its name: asked to `serve`, it runs the script `serve` of the worker's directory.

use std::fs;
use std::path::PathBuf;

use orchestrator_test_support::{Home, Model, Ran, Stage, Supervisor};
use serde_json::json;

use crate::ORCHESTRATOR;

/// Puts a shell where npm would put OpenCode of this version.
fn pretend(home: &Home, version: &str) -> PathBuf {
    let package = home
        .path()
        .join("pretended/node_modules/opencode-linux-x64");
    fs::create_dir_all(package.join("bin")).unwrap();
    let binary = package.join("bin/opencode");
    fs::copy(fs::canonicalize("/bin/sh").unwrap(), &binary).unwrap();
    let about = json!({ "name": "opencode-linux-x64", "version": version });
    fs::write(package.join("package.json"), about.to_string()).unwrap();
    binary
}

#[test]
fn one_that_is_too_old_or_no_program_at_all_is_exit_8() {
    let mut home = Home::new(ORCHESTRATOR);
    let old = pretend(&home, "1.17.9");
    home.set("ORCHESTRATOR_OPENCODE_BIN", old.display().to_string());
    let run = |home: &Home| {
        let ran = home
            .run(["run", "--local", "--demo", "--port", "0"])
            .exits(8);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        ran.stderr
    };
    let told = run(&home);
    assert!(told.contains("which is version 1.17.9: 1.18.33"), "{told}");

    // A script is no executable that a warden can own, whatever version it prints.
    let wrapper = home.path().join("opencode-script");
    fs::write(&wrapper, "#!/bin/sh\necho 1.17.9\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&wrapper, mode).unwrap();
    home.set("ORCHESTRATOR_OPENCODE_BIN", wrapper.display().to_string());
    assert!(run(&home).contains("which is a script: name the executable itself"));

    // On the PATH it is passed over, and without npm none can be installed.
    let path = home.dir("path");
    std::os::unix::fs::symlink(&old, path.join("opencode")).unwrap();
    home.set("ORCHESTRATOR_OPENCODE_BIN", "");
    home.set("PATH", path.display().to_string());
    let told = run(&home);
    assert!(told.contains("npm"), "{told}");
    let kept = home.run(["ps"]).exits(4);
    assert!(
        kept.stderr.contains("the last one ended at"),
        "{}",
        kept.stderr
    );
}

/// `send … --wait` of a turn that fails.
fn fails(home: &Home, args: &[&str]) -> Ran {
    let mut all = vec!["send"];
    all.extend(args);
    all.push("--wait");
    let ran = home.run(all).exits(1);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("error: the turn failed"),
        "{}",
        ran.stderr
    );
    ran
}

/// The id of a worker's only session.
fn session_of(supervisor: &Supervisor<'_>, worker: &str) -> String {
    let ps = supervisor.ps();
    let mut workers = ps["workers"].as_array().unwrap().iter();
    let found = workers.find(|row| row["name"] == worker).unwrap();
    found["sessions"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn one_that_never_listens_or_ends_at_once_fails_the_turn_with_its_last_words() {
    let mut stage = Stage::new(ORCHESTRATOR);
    let real = stage.home.get("ORCHESTRATOR_OPENCODE_BIN").to_owned();
    let pretended = pretend(&stage.home, "1.18.33");
    stage
        .home
        .set("ORCHESTRATOR_OPENCODE_BIN", pretended.display().to_string());
    // Short for the silent one, long enough for the real one.
    stage.home.set("ORCHESTRATOR_BOOT_TIMEOUT", "8s");
    let serve = stage.home.dir("shop").join("serve");
    let quiet = stage.home.dir("quiet").join("serve");
    fs::write(&serve, "echo cannot load the plugin >&2\nexit 3\n").unwrap();
    fs::write(&quiet, "echo warming up\nsleep 600\n").unwrap();
    let shop = stage.home.dir("shop").display().to_string();
    let other = stage.home.dir("quiet").display().to_string();
    let args = ["run", "--demo", "--port", "0", "--local", &shop, &other];
    let supervisor = stage.home.supervisor(args);
    supervisor.workers_are("ready");

    let (ended, silent) = std::thread::scope(|scope| {
        let silent = scope.spawn(|| fails(&stage.home, &["hello", "--to", "quiet"]));
        let ended = fails(&stage.home, &["hello", "--to", "shop"]);
        (ended, silent.join().unwrap())
    });
    assert!(
        ended
            .stderr
            .contains("ended before it listened (exit code 3)"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("cannot load the plugin"),
        "{}",
        ended.stderr
    );
    let session = session_of(&supervisor, "shop");
    let failed = supervisor.session("has failed", |row| row["id"] == session.as_str());
    let why = failed["last_error"].as_str().unwrap_or_default();
    assert!(why.contains("ended before it listened"), "{failed}");
    let tree = stage.home.run(["ps"]).exits(0).stdout;
    assert!(
        !tree.contains("\ncannot load"),
        "a row of `ps` is one line:\n{tree}"
    );

    assert!(
        silent
            .stderr
            .contains("did not say in time that it listens"),
        "{}",
        silent.stderr
    );
    assert!(silent.stderr.contains("warming up"), "{}", silent.stderr);

    // The cause is gone: the same session works at once.
    fs::write(&serve, format!("exec '{real}' serve \"$@\"\n")).unwrap();
    let sent = stage
        .home
        .run(["send", "once more", "--to", session.as_str(), "--wait"])
        .exits(0);
    assert!(sent.stdout.contains("once more"), "{}", sent.stdout);
    for worker in supervisor.ps()["workers"].as_array().unwrap() {
        assert_eq!(worker["restarts"], 0, "{worker}");
    }
    assert!(supervisor.terminate().success());
}

/// A user's own OpenCode configuration that answers from the scripted model.
fn working(model: &Model) -> serde_json::Value {
    json!({
        "share": "disabled", "autoupdate": false, "snapshot": false, "lsp": false, "formatter": false,
        "plugin": [], "mcp": {}, "model": "fake/scripted", "small_model": "fake/scripted",
        "enabled_providers": ["fake"], "permission": { "*": "allow" },
        "provider": { "fake": {
            "npm": "@ai-sdk/openai-compatible", "name": "Scripted",
            "options": { "baseURL": format!("{}/v1", model.url()), "apiKey": "sk-scripted" },
            "models": { "scripted": { "name": "S", "tool_call": true, "limit": { "context": 200_000, "output": 32_000 } } },
        } },
    })
}

#[test]
fn one_with_a_broken_configuration_fails_the_turn_and_the_next_message_works_once_it_is_mended() {
    let mut stage = Stage::new(ORCHESTRATOR);
    // The user's own settings count without --demo; nothing of the network does.
    for name in [
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS",
        "OPENCODE_PURE",
    ] {
        stage.home.set(name, "1");
    }
    let users = PathBuf::from(stage.home.get("XDG_CONFIG_HOME")).join("opencode");
    fs::create_dir_all(users.join("node_modules")).unwrap();
    let lock =
        json!({ "packages": { "": { "dependencies": { "@opencode-ai/plugin": "1.18.33" } } } });
    fs::write(users.join("package-lock.json"), lock.to_string()).unwrap();
    fs::write(
        users.join("opencode.json"),
        working(&stage.model).to_string(),
    )
    .unwrap();
    let project = stage.home.dir("shop").join("opencode.json");
    fs::write(&project, "{ \"model\": 7 }").unwrap();
    let shop = stage.home.dir("shop").display().to_string();
    let blog = stage.home.dir("blog").display().to_string();
    let supervisor = stage
        .home
        .supervisor(["run", "--port", "0", "--local", &shop, &blog]);
    supervisor.workers_are("ready");

    let broken = fails(&stage.home, &["hello", "--to", "shop"]);
    assert!(broken.stderr.contains("onfiguration"), "{}", broken.stderr);
    assert!(broken.stderr.contains("opencode.json"), "{}", broken.stderr);
    let session = session_of(&supervisor, "shop");
    let sent = stage
        .home
        .run(["send", "meanwhile", "--to", "blog", "--wait"])
        .exits(0);
    assert!(sent.stdout.contains("meanwhile"), "{}", sent.stdout);

    fs::remove_file(&project).unwrap();
    let sent = stage
        .home
        .run(["send", "mended", "--to", session.as_str(), "--wait"])
        .exits(0);
    assert!(sent.stdout.contains("mended"), "{}", sent.stdout);
    assert!(supervisor.terminate().success());
}
