//! Wards over small programs: what a warden promises, without OpenCode.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use orchestrator::adapters::process::command;
use orchestrator::adapters::process::lease::LeaseSpec;
use orchestrator::adapters::process::marker::{Marker, MarkerPrefix};
use orchestrator::adapters::process::{SpawnError, Ward, WardSpec};

use crate::harness::{env, eventually, kill_9, orchestrator, parent_of, processes_with};

/// A shell script under a warden; the temp folder's path marks its processes.
pub fn shell(folder: &tempfile::TempDir, script: &str) -> WardSpec {
    let mut spec = WardSpec::new(orchestrator(), "/bin/sh", folder.path());
    spec.args = vec!["-c".to_owned(), script.to_owned()];
    spec.env = env(&[
        ("PATH", "/usr/bin:/bin"),
        ("TEST_FOLDER", folder.path().to_str().unwrap()),
    ]);
    let prefix = MarkerPrefix::of_state_folder(folder.path());
    spec.marker = Marker::new(&prefix, "s");
    spec.lease = LeaseSpec {
        session: Some(folder.path().join("s.lock")),
        directory: None,
    };
    spec.temporary = Some(folder.path().join("tmp"));
    spec
}

pub fn left(folder: &tempfile::TempDir) -> Vec<String> {
    processes_with(folder.path().to_str().unwrap())
}

#[tokio::test]
async fn a_command_runs_to_its_end_with_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let spec = shell(
        &folder,
        "echo out; echo err >&2; test -d \"$TMPDIR\" && exit 7",
    );
    let finished = command::run(spec, Duration::from_secs(20)).await.unwrap();
    assert_eq!(finished.code, Some(7));
    assert_eq!(finished.stdout_text(), "out");
    assert_eq!(finished.last_words(), "err");
    assert!(!folder.path().join("tmp").exists());
}

/// It holds no lock, so nobody but its keeper ever comes for it.
#[tokio::test]
async fn a_command_of_no_session_leaves_nothing_either_when_its_warden_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = WardSpec::new(orchestrator(), "/bin/sh", folder.path());
    spec.args = ["-c", "setsid sleep 600 & sleep 600"]
        .map(str::to_owned)
        .to_vec();
    spec.env = env(&[
        ("PATH", "/usr/bin:/bin"),
        ("TEST_FOLDER", folder.path().to_str().unwrap()),
    ]);
    let ward = Ward::spawn(spec).await.unwrap();
    let sleep = |line: &String| line.contains("sleep 600") && !line.contains("sh -c");
    eventually("both sleep", || {
        left(&folder).into_iter().filter(sleep).count() >= 2
    })
    .await;
    kill_9(parent_of(ward.pid()));
    assert!(ward.exited().await.warden_lost);
    assert!(left(&folder).is_empty(), "{:?}", left(&folder));
}

/// Whoever comes next has found the lock free and gone on by the time the warden has it.
#[tokio::test]
async fn a_warden_that_comes_up_late_does_not_start_what_nobody_waits_for_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let late = folder.path().join("late");
    let text = format!(
        "#!/bin/sh\n/bin/sleep 1\n'{}' \"$@\"\n: > '{}'\n",
        orchestrator().display(),
        folder.path().join("over").display()
    );
    std::fs::write(&late, text).unwrap();
    std::fs::set_permissions(&late, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec = shell(&folder, ": > ran");
    spec.warden = late;
    let shortly = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(shortly, Ward::spawn(spec))
            .await
            .is_err()
    );
    let next = Ward::spawn(shell(&folder, "exit 7")).await.unwrap();
    assert_eq!(next.exited().await.code, Some(7));
    let is_over = || folder.path().join("over").exists();
    eventually("the late warden is gone", is_over).await;
    assert!(!folder.path().join("ran").exists());
}

#[tokio::test]
async fn a_command_whose_time_is_over_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spec = shell(&folder, "setsid sleep 600 & sleep 600");
    let finished = command::run(spec, Duration::from_millis(300))
        .await
        .unwrap();
    assert!(finished.timed_out && !finished.success());
    assert!(left(&folder).is_empty());
}

#[tokio::test]
async fn a_child_that_ends_takes_what_it_left_running_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let ward = Ward::spawn(shell(
        &folder,
        "setsid sleep 600 & (setsid sh -c 'sleep 600; true' &) ; exit 0",
    ))
    .await
    .unwrap();
    let record = ward.exited().await;
    assert_eq!((record.code, record.warden_lost), (Some(0), false));
    assert!(left(&folder).is_empty(), "{:?}", left(&folder));
}

#[tokio::test]
async fn term_is_tried_first_and_then_everything_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut gentle = Ward::spawn(shell(
        &folder,
        "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done",
    ))
    .await
    .unwrap();
    let mut lines = gentle.take_lines().unwrap();
    assert_eq!(lines.recv().await.unwrap().text, "up");
    let record = gentle.stop(5000).await;
    assert_eq!(record.code, Some(4));
    // Its shell may also say that its `sleep` was terminated.
    assert!(record.last_lines.contains(&"bye".to_owned()), "{record:?}");

    let mut stubborn = Ward::spawn(shell(
        &folder,
        "trap '' TERM; echo up; while :; do sleep 0.05; done",
    ))
    .await
    .unwrap();
    let mut lines = stubborn.take_lines().unwrap();
    assert_eq!(lines.recv().await.unwrap().text, "up");
    let start = Instant::now();
    let record = stubborn.stop(200).await;
    assert_eq!(record.signal, Some(9));
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(left(&folder).is_empty());
}

#[tokio::test]
async fn a_dropped_ward_is_gone_soon_and_a_busy_lease_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let ward = Ward::spawn(shell(&folder, "setsid sleep 600 & sleep 600"))
        .await
        .unwrap();
    let busy = Ward::spawn(shell(&folder, "true")).await.unwrap_err();
    assert!(matches!(busy, SpawnError::Busy(_)), "{busy:?}");
    drop(ward);
    let took = eventually("nothing is left", || left(&folder).is_empty()).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn who_takes_the_lock_of_a_killed_warden_sweeps_first() {
    let folder = tempfile::tempdir().unwrap();
    let ward = Ward::spawn(shell(&folder, "setsid sleep 600 & sleep 600"))
        .await
        .unwrap();
    eventually("both sleep", || {
        left(&folder)
            .iter()
            .filter(|line| line.contains("sleep 600"))
            .count()
            >= 3
    })
    .await;
    // The warden dies without a word; its ward sweeps by itself.
    kill_9(parent_of(ward.pid()));
    assert!(ward.exited().await.warden_lost);
    assert!(left(&folder).is_empty(), "{:?}", left(&folder));

    // The same without a ward that could: an orphan with the marker, and nobody who holds the lock.
    let marker = shell(&folder, "").marker;
    let mut orphan = std::process::Command::new("sleep")
        .arg("600")
        .env("ORCHESTRATOR_MARKER", marker.as_str())
        .spawn()
        .unwrap();
    eventually("it shows its marker", || {
        !processes_with(marker.as_str()).is_empty()
    })
    .await;
    let ward = Ward::spawn(shell(&folder, "true")).await.unwrap();
    assert_eq!(ward.swept(), 1);
    orphan.wait().unwrap();
    ward.exited().await;
}

#[tokio::test]
async fn a_flood_without_line_ends_stops_neither_the_child_nor_us() {
    let folder = tempfile::tempdir().unwrap();
    let ward = Ward::spawn(shell(
        &folder,
        "head -c 50000000 /dev/zero; yes | head -n 200000; echo end",
    ))
    .await
    .unwrap();
    let record = ward.exited().await;
    assert_eq!(record.code, Some(0));
    assert_eq!(record.last_lines.last().unwrap(), "end");
    assert_eq!(record.last_lines.len(), 50);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell(&folder, "");
    spec.program = "/no/such/program".into();
    let error = Ward::spawn(spec).await.unwrap_err().to_string();
    assert!(
        error.contains("could not start /no/such/program"),
        "{error}"
    );
}
