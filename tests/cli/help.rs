//! The help of every command: a contract with people, so a change of it is looked at.

use std::path::Path;

use orchestrator_test_support::Home;

use crate::home;

/// Every command, found by walking the help itself from the top: a new one cannot be forgotten.
fn commands(home: &Home) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while let Some(command) = found.get(at).cloned() {
        let help = home.run(command.iter().cloned().chain(["--help".to_owned()]));
        for name in below(&help.exits(0).stdout) {
            found.push([command.clone(), vec![name]].concat());
        }
        at += 1;
    }
    assert!(found.len() > 40, "the help was not understood: {found:?}");
    found
}

/// The names under `Commands:`.
fn below(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        // What is indented further goes on with the line before.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn snapshot_of(command: &[String]) -> String {
    let name = format!("help_{}", command.join("_"));
    name.trim_end_matches('_').to_owned()
}

#[test]
fn every_command_explains_itself() {
    let home = home();
    let commands = commands(&home);
    for command in &commands {
        let ran = home.run(command.iter().cloned().chain(["--help".to_owned()]));
        let ran = ran.exits(0);
        assert_eq!(ran.stderr, "");
        // The global options are shown once, with the program's own help.
        let (own, _) = ran.stdout.split_once("\nGlobal options:").unwrap();
        let text = if command.is_empty() { &ran.stdout } else { own };
        insta::assert_snapshot!(snapshot_of(command), text);
    }
    // A command that is gone leaves no page behind.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots");
    let known: Vec<String> = commands
        .iter()
        .map(|command| snapshot_of(command))
        .collect();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let file = entry.file_name().into_string().unwrap();
        let Some(name) = file.strip_prefix("cli__help__help") else {
            continue;
        };
        let name = format!(
            "help{}",
            name.trim_end_matches(".snap").trim_end_matches(".snap.new")
        );
        assert!(known.contains(&name), "{file} is of no command");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let home = home();
    let folder = home.path().join("man");
    let ran = home
        .run(["man", "--dir", folder.to_str().unwrap()])
        .exits(0);
    assert_eq!(ran.stdout, "");
    for command in commands(&home) {
        let name = [vec!["orchestrator".to_owned()], command.clone()]
            .concat()
            .join("-");
        let page = std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}"
        );
        let printed = home.run(["man".to_owned()].into_iter().chain(command));
        assert_eq!(printed.exits(0).stdout, page, "{name}");
    }
    let ran = home.run(["man", "sesion"]).exits(2);
    assert!(
        ran.stderr.contains("did you mean `session`?"),
        "{}",
        ran.stderr
    );
    let ran = home.run(["man", "nope"]).exits(2);
    let hint = "hint: orchestrator help lists the commands";
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
}

#[test]
fn the_readme_names_the_commands_that_take_json() {
    let home = home();
    let readme = include_str!("../../README.md").replace('\n', " ");
    let (_, named) = readme.split_once("It is taken by ").unwrap();
    let (named, _) = named.split_once(". What").unwrap();
    let mut named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    let mut taken: Vec<String> = commands(&home)
        .into_iter()
        .filter(|command| {
            let ran = home.run(command.iter().cloned().chain(["--help".to_owned()]));
            let mut lines = ran.stdout.lines();
            lines.any(|line| line.trim_start().starts_with("--json"))
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
