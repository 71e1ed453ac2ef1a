//! The help of every command: a contract with people, so a change of it is looked at.

use crate::home;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["run"],
    &["ps"],
    &["reload"],
    &["status"],
    &["stop"],
    &["restart"],
    &["send"],
    &["chat"],
    &["session"],
    &["session", "list"],
    &["session", "show"],
    &["worker"],
    &["worker", "list"],
    &["worker", "add"],
    &["worker", "approve"],
    &["worker", "revoke"],
    &["worker", "remove"],
    &["worker", "pause"],
    &["worker", "resume"],
    &["worker", "token"],
    &["owner"],
    &["owner", "init"],
    &["owner", "token"],
    &["owner", "jwks"],
    &["owner", "rotate"],
    &["config"],
    &["config", "path"],
    &["config", "check"],
    &["config", "template"],
    &["config", "show"],
    &["config", "schema"],
    &["config", "edit"],
    &["config", "migrate-env"],
    &["service"],
    &["service", "install"],
    &["service", "uninstall"],
    &["service", "status"],
    &["service", "print"],
    &["logs"],
    &["doctor"],
    &["deployment"],
    &["deployment", "run"],
    &["completions"],
    &["version"],
];

#[test]
fn every_command_explains_itself() {
    let home = home();
    for command in COMMANDS {
        let ran = home.run(command.iter().copied().chain(["--help"])).exits(0);
        assert_eq!(ran.stderr, "");
        // The global options are shown once, with the program's own help.
        let (own, _) = ran.stdout.split_once("\nGlobal options:").unwrap();
        let text = if command.is_empty() { &ran.stdout } else { own };
        let name = format!("help_{}", command.join("_"));
        insta::assert_snapshot!(name.trim_end_matches('_').to_owned(), text);
    }
}

#[test]
fn the_readme_names_the_commands_that_take_json() {
    let home = home();
    let readme = include_str!("../../README.md").replace('\n', " ");
    let (_, named) = readme.split_once("It is taken by ").unwrap();
    let (named, _) = named.split_once(". What").unwrap();
    let mut named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    let mut taken: Vec<String> = COMMANDS
        .iter()
        .filter(|command| {
            let ran = home.run(command.iter().copied().chain(["--help"]));
            ran.stdout.contains("--json")
        })
        .map(|command| command.join(" "))
        .collect();
    named.sort_unstable();
    taken.sort_unstable();
    assert_eq!(named, taken);
}

#[test]
fn wrong_use_is_exit_2_with_a_hint() {
    let home = home();
    for args in [
        &["frobnicate"][..],
        &["run", "--port", "1"],
        &["send"],
        &["stop", "--timeout", "soon"],
        &["completions", "cmd"],
    ] {
        let ran = home.run(args).exits(2);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains("error:"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn completions_and_version_are_data() {
    let home = home();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.run(["completions", shell]).exits(0);
        assert!(ran.stdout.contains("orchestrator"), "{shell}");
    }
    let version = home.run(["version", "--json"]).exits(0).json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let line = home.run(["--version"]).exits(0).stdout;
    assert_eq!(line, home.run(["version"]).exits(0).stdout);
}

/// `/dev/full` takes nothing: what was asked for did not arrive, and that is not a success.
#[cfg(target_os = "linux")]
#[test]
fn data_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = home()
        .command(["config", "template"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot write to stdout"), "{told}");
}

#[test]
fn wrong_use_is_data_with_json() {
    let home = home();
    let error = home.run(["send", "--json"]).exits(2).json();
    assert_eq!(error["error"]["exit"], 2);
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("required"), "{message}");
    let help = home.run(["send", "--json", "--help"]).exits(0);
    assert!(help.stdout.contains("Usage:"), "{}", help.stdout);
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let mut home = home();
    for name in [
        "ORCHESTRATOR_CONFIG",
        "ORCHESTRATOR_STATE_DIR",
        "ORCHESTRATOR_URL",
        "ORCHESTRATOR_LOG",
        "ORCHESTRATOR_COLOR",
        "ORCHESTRATOR_NO_INPUT",
        "ORCHESTRATOR_OPENCODE_BIN",
        "ORCHESTRATOR_SHUTDOWN_TIMEOUT",
        "IDLE_TIMEOUT",
        "CONVEX_URL",
    ] {
        home.set(name, "");
    }
    home.run(["ps"]).exits(4);
    home.run(["run", "--local", "nowhere"]).exits(1);
}
