//! A supervisor that hangs, and what a dead one has left: its socket, its assistants and their tools. The instance lock says whether
//! one lives, and mending is done under it, so that nothing of a living one is ever taken for a rest. What is ended carries our
//! own marker of this state folder.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use super::Examination;
use crate::adapters::clock::wall_ms;
use crate::adapters::opencode::traces_of;
use crate::adapters::process::leftovers;
use crate::cli::supervisor::Supervisor;
use crate::control::{Verb, socket_path};
use crate::daemon::{DaemonFile, Instance, holder};
use crate::ui::format::plural;

const ANSWER: Duration = Duration::from_secs(5);

pub(super) async fn look(to: &mut Examination<'_>) {
    let app = to.app;
    if let Some(holder) = holder(&app.paths.lock_file()) {
        let answers = match Supervisor::find(app) {
            Ok(supervisor) => supervisor.ask(Verb::Ps, ANSWER).await.is_ok(),
            Err(_) => false,
        };
        if answers {
            to.ok("supervisor", format!("running (pid {})", holder.pid));
        } else {
            to.fail(
                "supervisor",
                format!("one runs (pid {}) and does not answer", holder.pid),
                format!("orchestrator logs -n 20, then: kill {}", holder.pid),
            );
        }
        return;
    }
    let last = DaemonFile::read(&app.paths.daemon_file());
    match last.as_ref().map(|last| (&last.exited, last.pid)) {
        Some((None, pid)) => to.warn(
            "supervisor",
            format!("not running; the last one (pid {pid}) was killed"),
            "orchestrator logs -n 20",
        ),
        Some((Some(exited), _)) => to.ok(
            "supervisor",
            format!("not running; the last one: {}", exited.reason),
        ),
        None => to.ok("supervisor", "not running"),
    }
    let socket = last
        .map(|last| last.socket)
        .or_else(|| socket_path(&app.paths).ok());
    if let Some(socket) = socket {
        stale_socket(to, &socket).await;
    }
    orphans(to).await;
}

async fn stale_socket(to: &mut Examination<'_>, path: &Path) {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return;
    };
    let shown = to.app.paths.shown(path);
    let ours = meta.file_type().is_socket() && meta.uid() == rustix::process::geteuid().as_raw();
    if !ours {
        to.fail(
            "remains",
            format!("{shown} is where the control socket belongs, and it is not ours"),
            format!("look at it, then move it away (ls -l {shown})"),
        );
        return;
    }
    if !to.fix {
        to.warn(
            "remains",
            format!("{shown} is a dead supervisor's socket"),
            "orchestrator doctor --fix",
        );
        return;
    }
    // Nobody can have started meanwhile while the lock is ours.
    let Ok(_lock) = Instance::acquire(&to.app.paths.lock_file(), wall_ms()).await else {
        return;
    };
    match std::fs::remove_file(path) {
        Ok(()) => to.fixed(
            "remains",
            format!("removed a dead supervisor's socket, {shown}"),
        ),
        Err(error) => to.fail(
            "remains",
            format!("{shown} cannot be removed: {error}"),
            format!("rm {shown}"),
        ),
    }
}

async fn orphans(to: &mut Examination<'_>) {
    let Ok(state) = to.app.paths.state.canonicalize() else {
        // There never was a supervisor.
        return;
    };
    let places = traces_of(&state);
    let looked = {
        let places = places.clone();
        tokio::task::spawn_blocking(move || leftovers::living(&places)).await
    };
    let count = looked.unwrap_or(0);
    if count == 0 {
        to.ok("orphans", "nothing of a dead supervisor runs");
        return;
    }
    let what = format!("{} of a dead supervisor", plural(count, "process"));
    if !to.fix {
        to.warn(
            "orphans",
            format!("{what} still run"),
            "orchestrator doctor --fix",
        );
        return;
    }
    let Ok(_lock) = Instance::acquire(&to.app.paths.lock_file(), wall_ms()).await else {
        to.warn(
            "orphans",
            "a supervisor has started: they are its to end",
            "orchestrator ps",
        );
        return;
    };
    let ending = {
        let places = places.clone();
        tokio::task::spawn_blocking(move || leftovers::end(&places)).await
    };
    if let Ok((_, wardens)) = ending {
        leftovers::see_off(places.clone(), wardens).await;
    }
    let left = tokio::task::spawn_blocking(move || leftovers::living(&places)).await;
    match left {
        Ok(0) => to.fixed("orphans", format!("ended {what}")),
        _ => to.fail("orphans", format!("{what} do not end"), "orchestrator logs"),
    }
}
