//! Holds `tests/requirements.md` to the truth: every row that was asked for is in it, and whatever a row names exists.
//! What is still `open` is listed by the test that counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::home;

/// What was asked for: documents 0, 1, 3 and 4, and what hurt earlier implementations, with the number of their last row.
const ROWS: [(&str, u32); 5] = [("0", 32), ("1", 32), ("3", 21), ("4", 15), ("H", 35)];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

/// Id and the entries of the last column.
fn table() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in read("tests/requirements.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, id, what, shown, _] = cells.as_slice() else {
            continue;
        };
        let number = id.trim_start_matches('C').trim_start_matches("H-");
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        assert!(!what.is_empty(), "{id} says nothing");
        let entries = shown.split(';').map(|entry| entry.trim().to_owned());
        let before = rows.insert((*id).to_owned(), entries.collect());
        assert!(before.is_none(), "{id} is there twice");
    }
    rows
}

/// Why an entry shows nothing.
fn problem(entry: &str, commands: &mut BTreeSet<String>) -> Option<String> {
    let (kind, what) = entry.split_once(' ').unwrap_or((entry, ""));
    match kind {
        "open" => None,
        "rule" => what.is_empty().then(|| "a rule without words".to_owned()),
        "test" => test_problem(what),
        "readme" => heading_problem("README.md", what),
        "architecture" => heading_problem("ARCHITECTURE.md", what),
        "command" => {
            commands.insert(what.to_owned());
            None
        }
        _ => Some(format!(
            "`{kind}` is none of test, command, readme, architecture, rule, open"
        )),
    }
}

fn test_problem(what: &str) -> Option<String> {
    let Some((file, name)) = what.split_once("::") else {
        return Some(format!("`{what}` is not FILE::NAME"));
    };
    if !Path::new(&root().join(file)).is_file() {
        return Some(format!("there is no file {file}"));
    }
    let text = read(file);
    let found = match name.strip_prefix('"') {
        Some(title) => text.contains(&format!("test(\"{}\"", title.trim_end_matches('"'))),
        None => has_test(&text, name),
    };
    (!found).then(|| format!("{file} has no test {name}"))
}

/// A function of that name with a test attribute above it.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let declared = line
            .trim_start_matches("async ")
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('));
        // In a property test the attribute stands in the macro.
        let above = &lines[at.saturating_sub(6)..at];
        declared
            && above
                .iter()
                .any(|line| line.starts_with("#[") && line.contains("test"))
    })
}

fn heading_problem(file: &str, heading: &str) -> Option<String> {
    let found = read(file)
        .lines()
        .any(|line| line.starts_with('#') && line.trim_start_matches('#').trim() == heading);
    (!found).then(|| format!("{file} has no heading `{heading}`"))
}

#[test]
fn every_requirement_has_its_row_and_names_what_exists() {
    let rows = table();
    let mut wrong = Vec::new();
    for (document, last) in ROWS {
        for number in 1..=last {
            let id = format!("{document}-{number:02}");
            if !rows.contains_key(&id) {
                wrong.push(format!("{id}: has no row"));
            }
        }
    }
    let mut commands = BTreeSet::new();
    let mut open = Vec::new();
    for (id, entries) in &rows {
        for entry in entries {
            if let Some(problem) = problem(entry, &mut commands) {
                wrong.push(format!("{id}: {problem}"));
            }
        }
        if entries.iter().any(|entry| entry == "open") {
            open.push(id.as_str());
        }
    }
    let home = home();
    for command in commands {
        let words = command.split(' ').skip(1).chain(["--help"]);
        let ran = home.run(words);
        if !command.starts_with("orchestrator ") || ran.code != 0 {
            wrong.push(format!("`{command}` is no command"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("open: {}", open.join(", "));
}

#[test]
fn what_does_not_exist_is_found() {
    let mut commands = BTreeSet::new();
    for entry in [
        "test tests/cli/requirements.rs::no_such_test",
        "test tests/cli/requirements.rs::has_test",
        "test tests/nowhere.rs::x",
        "test x",
        "readme No such heading",
        "rule",
        "somehow",
        "",
    ] {
        assert!(problem(entry, &mut commands).is_some(), "{entry}");
    }
    let itself = "test tests/cli/requirements.rs::what_does_not_exist_is_found";
    assert_eq!(problem(itself, &mut commands), None);
}
