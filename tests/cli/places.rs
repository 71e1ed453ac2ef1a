//! Places where nothing can be written: a home that is none, a disk without room, a path that no socket can have. One clear
//! error, the documented exit code, and no half of a file.

use std::path::{Path, PathBuf};

use orchestrator_test_support::{Home, Ran};

use crate::{home, told};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}

/// A home below a file: nobody, root included, can make anything there.
fn nowhere() -> Home {
    let mut home = home();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let nowhere = file.join("home").display().to_string();
    home.set("HOME", nowhere);
    for name in ["CONFIG", "STATE", "DATA"] {
        home.set(&format!("XDG_{name}_HOME"), "");
    }
    home
}

/// On a disk on which no file can grow.
fn without_room(home: &Home, args: &[&str]) -> Ran {
    let mut shell = home.foreign("bash");
    shell
        .args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_orchestrator"))
        .args(args);
    home.finish(shell, "")
}

fn one_error(ran: &Ran, exit: i32) {
    assert_eq!(ran.code, exit, "{ran:?}");
    let errors = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn a_home_that_cannot_be_written_is_one_error() {
    let home = nowhere();
    for (args, exit) in [
        (&["run", "--local", "--port", "0"][..], 1),
        (&["run", "--local", "--port", "0", "--detach"], 1),
        (&["run"], 3),
        (&["service", "install", "--local"], 1),
        (&["owner", "init"], 1),
    ] {
        let ran = home.run(args);
        one_error(&ran, exit);
        assert!(
            ran.stderr.contains("[ROOT]/file/home")
                || told(&home, &ran).contains("[ROOT]/file/home"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    assert_eq!(std::fs::read(home.path().join("file")).unwrap(), b"");
    insta::assert_snapshot!(told(&home, &home.run(["run", "--local", "--port", "0"])));
}

#[test]
fn a_full_disk_leaves_no_half_of_a_file() {
    let home = home();
    let before = files(home.path());
    for (args, exit) in [
        (&["run"][..], 3),
        (&["service", "install", "--local"], 1),
        (&["owner", "init"], 1),
    ] {
        one_error(&without_room(&home, args), exit);
        assert_eq!(files(home.path()), before, "{args:?}");
    }
    // The lock alone is a file of a supervisor that does not begin.
    let ran = without_room(&home, &["run", "--local", "--port", "0"]);
    one_error(&ran, 1);
    let left: Vec<_> = files(home.path())
        .into_iter()
        .filter(|file| std::fs::metadata(file).is_ok_and(|meta| meta.len() > 0))
        .collect();
    assert_eq!(left, before);
    insta::assert_snapshot!(told(&home, &ran));
}

#[test]
fn a_full_disk_leaves_the_file_that_is_there_as_it_was() {
    let home = home();
    home.run(["service", "install", "--local", "--no-start"])
        .exits(0);
    let unit = Path::new(home.get("XDG_CONFIG_HOME")).join("systemd/user/orchestrator.service");
    let before = std::fs::read(&unit).unwrap();
    let other = home.dir("other").display().to_string();
    let args = ["service", "install", "--local", &other, "--no-start"];
    one_error(&without_room(&home, &args), 1);
    assert_eq!(std::fs::read(&unit).unwrap(), before);
    assert_eq!(files(unit.parent().unwrap()), [unit]);
}

#[test]
fn a_socket_path_that_no_system_takes_is_one_error() {
    let mut home = home();
    home.set("XDG_RUNTIME_DIR", "");
    let long = home.path().join("x".repeat(110));
    let state = long.display().to_string();
    let ran = home.run(["--state-dir", &state, "run", "--local", "--port", "0"]);
    one_error(&ran, 1);
    assert!(
        ran.stderr.contains("too long") && ran.stderr.contains("--state-dir"),
        "{}",
        ran.stderr
    );
    assert!(!long.join("daemon.json").exists());
    for command in ["ps", "status", "stop"] {
        home.run(["--state-dir", &state, command]).exits(4);
    }
}
