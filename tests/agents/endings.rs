//! Every way in which supervisor, warden and child can end, over small programs: afterwards nothing is left, or it is said
//! what is.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orchestrator::adapters::process::journal::Journal;
use orchestrator::adapters::process::lease::session_lock;
use orchestrator::adapters::process::leftovers::{self, Places};
use orchestrator::adapters::process::marker::{Marker, MarkerPrefix};
use orchestrator::adapters::process::{Ward, WardSpec};
use rustix::process::Signal;

use crate::harness::{
    self, PATIENCE, env, eventually, kill_9, orchestrator, parent_of, processes_with,
};
use crate::other_process::{self, OtherProcess};
use crate::wards::{left, shell};

/// What OpenCode is like: a leader, a tool in its group, one in a session of its own, and one that ignores TERM.
const FAMILY: &str = "setsid sleep 600 & sleep 600 & sh -c 'trap \"\" TERM; sleep 600; true' & echo up; sleep 600; true";

fn sleeping(folder: &Path) -> usize {
    let all = processes_with(folder.to_str().unwrap());
    all.iter().filter(|line| line.contains("sleep 600")).count()
}

#[tokio::test]
async fn a_member_that_ignores_term_does_not_outlive_its_leader() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "sh -c 'trap \"\" TERM; echo up; sleep 600; true' & trap 'exit 5' TERM; wait; sleep 600";
    let mut ward = Ward::spawn(shell(&folder, script)).await.unwrap();
    let mut lines = ward.take_lines().unwrap();
    assert_eq!(lines.recv().await.unwrap().text, "up");
    let begun = Instant::now();
    let record = ward.stop(300).await;
    // The leader left at once, the member only when it was killed, and only then the session was free.
    assert_eq!(record.code, Some(5), "{record:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(left(&folder).is_empty(), "{:?}", left(&folder));
}

#[tokio::test]
async fn a_child_that_ignores_term_or_is_stopped_is_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    for stopped in [false, true] {
        let mut ward = Ward::spawn(shell(&folder, &format!("trap '' TERM; {FAMILY}")))
            .await
            .unwrap();
        assert_eq!(ward.take_lines().unwrap().recv().await.unwrap().text, "up");
        if stopped {
            harness::send(ward.pid(), Signal::STOP);
        }
        let record = ward.stop(200).await;
        assert_eq!(record.signal, Some(9), "{record:?}");
        assert!(left(&folder).is_empty(), "{:?}", left(&folder));
    }
}

#[tokio::test]
async fn a_script_whose_command_is_killed_does_not_go_on_with_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo up; sleep 600; echo \"went on\" > went-on";
    for _ in 0..20 {
        let mut ward = Ward::spawn(shell(&folder, script)).await.unwrap();
        assert_eq!(ward.take_lines().unwrap().recv().await.unwrap().text, "up");
        let record = ward.stop(1).await;
        assert_eq!(record.signal, Some(9), "{record:?}");
        assert!(!folder.path().join("went-on").exists());
    }
}

#[tokio::test]
async fn no_descriptor_of_ours_or_of_our_launcher_reaches_a_warden_or_a_child() {
    use std::os::fd::AsRawFd;
    let folder = tempfile::tempdir().unwrap();
    // One that a launcher has leaked into us: it is not closed by an exec.
    let leaked = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let number = leaked.as_raw_fd();
    let mut ward = Ward::spawn(shell(
        &folder,
        "ls /proc/self/fd; ls -l /proc/$PPID/fd; echo end; sleep 600",
    ))
    .await
    .unwrap();
    let mut lines = ward.take_lines().unwrap();
    let mut said = Vec::new();
    while let Some(line) = lines.recv().await.filter(|line| line.text != "end") {
        said.push(line.text);
    }
    // 3 is the listing's own.
    assert_eq!(said[..4], ["0", "1", "2", "3"], "{said:?}");
    assert!(
        !said[4..]
            .iter()
            .any(|line| line.contains(&format!(" {number} -> /dev/null"))),
        "{said:?}"
    );
    ward.stop(100).await;
    drop(leaked);
}

#[tokio::test]
async fn a_flood_of_1_gb_and_a_line_of_100_mb_cost_no_memory_and_keep_the_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let before = orchestrator::adapters::process::rss_bytes(std::process::id());
    let script = "yes 'all work and no play makes a dull child, line after line after line' | head -c 1000000000; \
                  echo; head -c 100000000 /dev/zero; echo; echo the last words >&2";
    let ward = Ward::spawn(shell(&folder, script)).await.unwrap();
    let mut most = 0;
    let mut exited = Box::pin(ward.exited());
    let record = loop {
        match tokio::time::timeout(Duration::from_millis(20), &mut exited).await {
            Ok(record) => break record,
            Err(_) => {
                most = most.max(orchestrator::adapters::process::rss_bytes(
                    std::process::id(),
                ));
            }
        }
    };
    assert_eq!(record.code, Some(0));
    assert!(
        record.last_lines.contains(&"the last words".to_owned()),
        "{record:?}"
    );
    assert!(record.last_lines.iter().all(|line| line.len() <= 2048));
    let grown = most.saturating_sub(before) / (1024 * 1024);
    assert!(grown < 100, "{grown} MB");
}

/// A warden that is not root, over a child that becomes root: nobody but root may end that.
#[tokio::test]
async fn a_descendant_that_we_may_not_signal_is_named_and_does_not_keep_the_session() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make a process that others may not signal");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let open_to_all = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    open_to_all(folder.path(), 0o777);
    // `sudo` in small: a copy with the set-user-id bit.
    let become_root = folder.path().join("become-root");
    std::fs::copy("/usr/bin/setpriv", &become_root).unwrap();
    open_to_all(&become_root, 0o4755);
    let warden = folder.path().join("warden-as-nobody");
    let text = format!(
        "#!/bin/sh\nexec /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups '{}' \"$@\"\n",
        orchestrator().display()
    );
    std::fs::write(&warden, text).unwrap();
    open_to_all(&warden, 0o755);

    let script = format!(
        "'{}' --reuid 0 sleep 600 & echo up; sleep 600",
        become_root.display()
    );
    let mut spec = shell(&folder, &script);
    spec.warden = warden;
    let lock = spec.lease.session.clone().unwrap();
    let mut ward = Ward::spawn(spec.clone()).await.unwrap();
    assert_eq!(ward.take_lines().unwrap().recv().await.unwrap().text, "up");
    let root_sleeps = || {
        let all = processes_with(folder.path().to_str().unwrap());
        let found = all
            .into_iter()
            .find(|line| line.contains("sleep 600") && !line.contains("-c "));
        found.filter(|line| {
            let pid = line.split(' ').next().unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("Uid:\t0\t0\t0\t0")
        })
    };
    eventually("the tool is root", || root_sleeps().is_some()).await;
    let pid: u32 = root_sleeps()
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let stop = ward.stop(100);
    // While it tries, whoever wants the session is told who is in the way.
    eventually("it is named", || {
        std::fs::read_to_string(&lock)
            .unwrap_or_default()
            .contains(&format!("cannot end {pid} (sleep)"))
    })
    .await;
    let record = tokio::time::timeout(PATIENCE, stop)
        .await
        .expect("it gives up");
    assert_eq!(record.given_up, Some(format!("{pid} (sleep)")));
    // The session is free again, and only that one process is left.
    assert_eq!(left(&folder).len(), 1, "{:?}", left(&folder));
    spec.args = vec!["-c".to_owned(), "exit 3".to_owned()];
    let next = Ward::spawn(spec).await;
    kill_9(pid);
    assert_eq!(next.unwrap().exited().await.code, Some(3));
    eventually("nothing is left", || left(&folder).is_empty()).await;
}

fn places(folder: &Path) -> Places {
    Places {
        journal: Journal::in_state_folder(folder),
        prefix: MarkerPrefix::of_state_folder(folder),
        locks: folder.join("locks"),
        temporary: folder.join("tmp"),
    }
}

/// A child as an adapter starts it: with lease, marker, journal and temporary folder.
fn owned(folder: &Path, session: &str, script: &str) -> WardSpec {
    let places = places(folder);
    let mut spec = WardSpec::new(orchestrator(), "/bin/sh", folder);
    spec.args = vec!["-c".to_owned(), script.to_owned()];
    spec.env = env(&[
        ("PATH", "/usr/bin:/bin"),
        ("TEST_FOLDER", folder.to_str().unwrap()),
    ]);
    spec.marker = Marker::new(&places.prefix, session);
    spec.lease.session = Some(session_lock(&places.locks, session));
    spec.temporary = Some(places.temporary.join(session));
    spec.journal = Some((places.journal, session.to_owned()));
    spec
}

#[tokio::test]
#[ignore = "other tests run it as a process of its own, to kill it"]
async fn a_supervisor_with_a_child() {
    let Some(folder) = other_process::folder() else {
        return;
    };
    let spec = owned(
        &folder,
        "s",
        &format!("echo so > \"$TMPDIR/leak.so\"; {FAMILY}"),
    );
    let mut ward = Ward::spawn(spec).await.unwrap();
    ward.take_lines().unwrap().recv().await.unwrap();
    eventually("the family sleeps", || sleeping(&folder) >= 4).await;
    println!("child {} warden {}", ward.pid(), parent_of(ward.pid()));
    std::future::pending::<()>().await;
}

struct Killed {
    supervisor: OtherProcess,
    child: u32,
    warden: u32,
    folder: PathBuf,
}

/// Starts a supervisor with a child, as a process of its own.
fn supervisor(folder: &Path) -> Killed {
    let mut supervisor = OtherProcess::run("endings::a_supervisor_with_a_child", folder);
    let told = supervisor.says("child ");
    let (child, warden) = told.split_once(" warden ").unwrap();
    Killed {
        supervisor,
        child: child.parse().unwrap(),
        warden: warden.parse().unwrap(),
        folder: folder.to_owned(),
    }
}

impl Killed {
    fn family(&self) -> Vec<String> {
        let mut all = processes_with(self.folder.to_str().unwrap());
        all.retain(|line| !line.starts_with(&format!("{} ", self.supervisor.pid())));
        all
    }

    /// What the next supervisor does at its start.
    async fn next_start(&self) -> usize {
        let places = places(&self.folder);
        let (hit, wardens) = leftovers::end(&places);
        leftovers::see_off(places, wardens).await;
        hit
    }

    /// Nothing is left of it: no process, no file but the lock's.
    async fn is_clean(&self) {
        eventually("nothing is left", || self.family().is_empty()).await;
        let files =
            |below: &str| std::fs::read_dir(self.folder.join(below)).map_or(0, Iterator::count);
        assert_eq!((files("tmp"), files("children")), (0, 0));
        let spec = owned(&self.folder, "s", "exit 0");
        assert_eq!(
            Ward::spawn(spec).await.unwrap().exited().await.code,
            Some(0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_soon_after_kill_9_of_the_supervisor() {
    const ROUNDS: usize = 20;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = supervisor(folder.path());
        // Whoever is in the middle of `execve` shows no environment for a moment.
        eventually("all four are there", || killed.family().len() >= 4).await;
        let begun = Instant::now();
        killed.supervisor.kill_9();
        eventually("nothing is left", || killed.family().is_empty()).await;
        took.push(begun.elapsed());
        let temporary = folder.path().join("tmp");
        eventually("the temporary folder goes, too", || {
            std::fs::read_dir(&temporary).map_or(true, |mut all| all.next().is_none())
        })
        .await;
        killed.next_start().await;
        killed.is_clean().await;
    }
    took.sort();
    let median = took[ROUNDS / 2];
    println!(
        "kill -9 of the supervisor → nothing left: median {median:?}, slowest {:?}",
        took[ROUNDS - 1]
    );
    // Half a second on a machine of its own; a warden that had missed the end would never do it.
    assert!(median < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisor_and_warden_killed_together_leave_nothing_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = supervisor(folder.path());
    // Stopped first, so that it cannot do its work in between.
    harness::send(killed.warden, Signal::STOP);
    killed.supervisor.kill_9();
    kill_9(killed.warden);
    let child = format!("{} ", killed.child);
    eventually("the kernel has ended the child", || {
        !killed.family().iter().any(|line| line.starts_with(&child))
    })
    .await;
    assert!(
        !killed.family().is_empty(),
        "its tools are in sessions of their own"
    );
    assert!(killed.next_start().await > 0);
    killed.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_warden_of_a_dead_supervisor_is_woken_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = supervisor(folder.path());
    harness::send(killed.warden, Signal::STOP);
    killed.supervisor.kill_9();
    killed.next_start().await;
    killed.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warden_that_is_told_to_end_ends_its_child_and_a_stopped_one_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let ward = Ward::spawn(owned(folder.path(), "s", FAMILY))
        .await
        .unwrap();
    let warden = parent_of(ward.pid());
    harness::send(warden, Signal::STOP);
    harness::send(warden, Signal::CONT);
    harness::send(warden, Signal::TERM);
    let record = tokio::time::timeout(PATIENCE, ward.exited()).await.unwrap();
    assert!(!record.warden_lost, "{record:?}");
    assert!(left(&folder).is_empty(), "{:?}", left(&folder));
}
