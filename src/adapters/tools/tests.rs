use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn search(&self) -> Search {
        Search {
            path: Some(self.0.path().join("bin").into()),
            home: self.0.path().to_owned(),
            named: BTreeMap::new(),
            installed: BTreeMap::new(),
            warden: "/no/warden".into(),
        }
    }

    fn tool(&self, name: &str) -> State {
        state(&glance(&self.search(), &[]), name)
    }
}

fn state(tools: &[Tool], name: &str) -> State {
    tools
        .iter()
        .find(|tool| tool.name == name)
        .unwrap()
        .state
        .clone()
}

fn broken(state: &State) -> &str {
    match state {
        State::Broken { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn found(state: &State) -> &Path {
    match state {
        State::Found { path, .. } => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_known_ones_are_reported_and_nothing_is_there_in_an_empty_home() {
    let home = Home::new();
    let tools = glance(&home.search(), &[]);
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "opencode", "claude", "cursor", "goose", "codex", "gemini", "copilot"
        ]
    );
}

#[test]
fn path_wins_over_the_installers_folder_and_a_named_program_over_both() {
    let home = Home::new();
    let installed = home.file(".opencode/bin/opencode", "x", 0o755);
    assert_eq!(found(&home.tool("opencode")), installed);
    let in_path = home.file("bin/opencode", "x", 0o755);
    assert_eq!(found(&home.tool("opencode")), in_path);
    let named = home.file("mine", "x", 0o755);
    let mut search = home.search();
    search.named.insert("opencode".to_owned(), named.clone());
    assert_eq!(found(&state(&glance(&search, &[]), "opencode")), named);
}

#[test]
fn what_the_product_has_installed_is_found_when_there_is_no_other() {
    let home = Home::new();
    let ours = home.file("data/agents/opencode/1/opencode", "x", 0o755);
    let mut search = home.search();
    search.installed.insert("opencode".to_owned(), ours.clone());
    assert_eq!(found(&state(&glance(&search, &[]), "opencode")), ours);
    let users = home.file("bin/opencode", "x", 0o755);
    assert_eq!(found(&state(&glance(&search, &[]), "opencode")), users);
}

#[test]
fn what_cannot_be_started_says_why() {
    let home = Home::new();
    home.file("bin/claude", "x", 0o644);
    assert_eq!(broken(&home.tool("claude")), "may not be executed");
    home.file("bin/codex", "", 0o755);
    assert_eq!(broken(&home.tool("codex")), "is an empty file");
    symlink("/no/such/file", home.0.path().join("bin/gemini")).unwrap();
    assert_eq!(
        broken(&home.tool("gemini")),
        "is a link to a file that is gone"
    );
    home.file("bin/copilot", "#!/usr/bin/env no-such-interpreter\n", 0o755);
    assert_eq!(
        broken(&home.tool("copilot")),
        "needs no-such-interpreter, which is not found"
    );
    home.file("bin/no-such-interpreter", "x", 0o755);
    assert!(found(&home.tool("copilot")).ends_with("bin/copilot"));
}

#[test]
fn a_usable_one_further_on_wins_over_a_broken_one_before() {
    let home = Home::new();
    home.file("bin/goose", "x", 0o644);
    let good = home.file(".local/bin/goose", "x", 0o755);
    assert_eq!(found(&home.tool("goose")), good);
}

#[test]
fn a_program_called_agent_counts_only_when_it_is_cursors() {
    let home = Home::new();
    home.file("bin/agent", "x", 0o755);
    assert_eq!(home.tool("cursor"), State::Absent);
    let real = home.file(
        ".local/share/cursor-agent/versions/1/cursor-agent",
        "x",
        0o755,
    );
    std::fs::remove_file(home.0.path().join("bin/agent")).unwrap();
    symlink(real, home.0.path().join("bin/agent")).unwrap();
    assert!(found(&home.tool("cursor")).ends_with("bin/agent"));
    home.file("bin/cursor", "x", 0o755);
    assert!(
        found(&home.tool("cursor")).ends_with("bin/agent"),
        "the editor is no assistant"
    );
}

#[tokio::test]
async fn the_version_comes_from_the_package_without_starting_the_program() {
    let home = Home::new();
    let real = home.file(
        "lib/node_modules/@openai/codex/bin/codex.js",
        "#!/bin/sh\nexit 1\n",
        0o755,
    );
    home.file(
        "lib/node_modules/@openai/codex/package.json",
        r#"{"version":"0.169.0"}"#,
        0o644,
    );
    std::fs::create_dir_all(home.0.path().join("bin")).unwrap();
    symlink(real, home.0.path().join("bin/codex")).unwrap();
    let tools = inspect(&home.search(), &[]).await;
    match state(&tools, "codex") {
        State::Found { version, .. } => assert_eq!(version.as_deref(), Some("0.169.0")),
        other => panic!("{other:?}"),
    }
    // The next glance remembers it, until the file changes.
    match state(&glance(&home.search(), &tools), "codex") {
        State::Found { version, .. } => assert_eq!(version.as_deref(), Some("0.169.0")),
        other => panic!("{other:?}"),
    }
    home.file(
        "lib/node_modules/@openai/codex/bin/codex.js",
        "#!/bin/sh\nexit 10\n",
        0o755,
    );
    match state(&glance(&home.search(), &tools), "codex") {
        State::Found { version, .. } => assert_eq!(version, None),
        other => panic!("{other:?}"),
    }
}
