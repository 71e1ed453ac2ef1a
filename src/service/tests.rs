//! What people have in their paths comes out of the files as it went in.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

const NASTY: &str = r#"/with space/%h/$HOME/"quoted"/back\slash/<&>/ünï:/usr/bin"#;

fn paths() -> Paths {
    let env = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/me"));
    Paths::resolve(&env, None, None).unwrap()
}

fn wanted(path: &str) -> Wanted {
    let path = PathBuf::from(path);
    let captured = capture::from(&|name| (name == "PATH").then(|| path.clone())).unwrap();
    Wanted {
        binary: PathBuf::from("/opt/100% $me/orchestrator"),
        globals: vec!["--state-dir".to_owned(), "/srv/a b".to_owned()],
        run: vec!["run".to_owned(), "--no-input".to_owned()],
        captured,
    }
}

#[test]
fn a_path_with_every_trap_of_the_formats_is_read_back_as_it_was() {
    for manager in [Manager::Systemd, Manager::Launchd] {
        let text = manager.text(&wanted(NASTY), &paths()).unwrap();
        assert_eq!(manager.path_in(&text).as_deref(), Some(NASTY), "{text}");
    }
    let unit = Manager::Systemd.text(&wanted(NASTY), &paths()).unwrap();
    assert!(
        unit.contains(
            r#"ExecStart="/opt/100%% $$me/orchestrator" "run" "--no-input" "--state-dir" "/srv/a b""#
        ),
        "{unit}"
    );
    assert!(!unit.contains('@'), "{unit}");
}

proptest! {
    #[test]
    fn any_folder_that_is_kept_survives_both_formats(folder in "/[^:\\x00]{0,40}") {
        let path = PathBuf::from(&folder);
        let captured = capture::from(&|name| (name == "PATH").then(|| path.clone()));
        if let Ok(captured) = captured {
            prop_assert!(!captured.path().chars().any(char::is_control));
            for manager in [Manager::Systemd, Manager::Launchd] {
                let text = manager.text(&wanted(captured.path()), &paths()).unwrap();
                let read = manager.path_in(&text);
                prop_assert_eq!(read.as_deref(), Some(captured.path()));
            }
        }
    }
}

#[test]
fn folders_that_mean_another_one_in_every_directory_are_left_out_and_named() {
    let env = |name: &str| (name == "PATH").then(|| PathBuf::from("/a::.:bin:/a:/b\nc:/d"));
    let captured = capture::from(&env).unwrap();
    assert_eq!(captured.path(), "/a:/d");
    assert_eq!(captured.left_out.len(), 4, "{:?}", captured.left_out);
    let nothing = capture::from(&|name| (name == "PATH").then(|| PathBuf::from(".:")));
    assert!(matches!(nothing, Err(ServiceError::NoPath)));
}

#[test]
fn a_line_break_is_refused_wherever_it_comes_from() {
    let mut bad = wanted("/a");
    bad.globals = vec!["a\nExecStart=/bin/evil".to_owned()];
    for manager in [Manager::Systemd, Manager::Launchd] {
        let refused = manager.text(&bad, &paths());
        assert!(matches!(refused, Err(ServiceError::Unusable { .. })));
    }
}

#[test]
fn what_somebody_else_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("user/orchestrator.service");
    assert_eq!(standing(&path).unwrap(), Standing::Absent);
    let ours = Manager::Systemd.text(&wanted("/a"), &paths()).unwrap();
    assert!(write(&path, &ours, false).unwrap());
    assert!(!write(&path, &ours, false).unwrap());
    std::fs::write(&path, "[Service]\n").unwrap();
    let refused = write(&path, &ours, false);
    assert!(matches!(refused, Err(ServiceError::NotOurs { .. })));
    assert!(remove(&path, false).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[Service]\n");
    assert!(write(&path, &ours, true).unwrap());
    remove(&path, false).unwrap();
    assert!(!path.exists());
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert_eq!(standing(&path).unwrap(), Standing::Foreign);
    assert!(remove(Path::new("/nowhere/x"), false).is_ok());
}
