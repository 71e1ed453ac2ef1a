//! What the machine allows: room on the disk, the length of a socket's path, descriptors, watched files.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::Examination;
use crate::control::socket_path;
use crate::ui::format::bytes;

/// Below this nothing can be relied on, and below that it soon will be so.
const FAIL_FREE: u64 = 100 * 1024 * 1024;
const WARN_FREE: u64 = 1024 * 1024 * 1024;

/// The supervisor takes about 20 and 5 for each session; tools of assistants take what they find.
const FAIL_FILES: u64 = 256;
const WARN_FILES: u64 = 1024;

/// OpenCode watches its directory, and `--watch` ours.
const WARN_WATCHES: u64 = 16_384;
const WARN_INSTANCES: u64 = 64;

pub(super) fn disk(to: &mut Examination<'_>) {
    let paths = to.app.paths.clone();
    let mut seen = Vec::new();
    for folder in [&paths.state, &paths.data] {
        let Some(there) = folder.ancestors().find(|folder| folder.is_dir()) else {
            continue;
        };
        let Ok(system) = rustix::fs::statvfs(there) else {
            continue;
        };
        if seen.contains(&system.f_fsid) {
            continue;
        }
        seen.push(system.f_fsid);
        let free = system.f_bavail * system.f_frsize;
        let text = format!("{} free for {}", bytes(free), paths.shown(folder));
        let next = format!("make room (df -h {})", there.display());
        match free {
            ..FAIL_FREE => to.fail("disk", text, next),
            FAIL_FREE..WARN_FREE => to.warn("disk", text, next),
            _ => to.ok("disk", text),
        }
    }
}

pub(super) fn socket(to: &mut Examination<'_>) {
    match socket_path(&to.app.paths) {
        Ok(path) => {
            let length = path.as_os_str().len();
            to.ok(
                "socket",
                format!("{} ({length} bytes)", to.app.paths.shown(&path)),
            );
        }
        Err(error) => to.fail(
            "socket",
            error.to_string(),
            "orchestrator --state-dir DIR run",
        ),
    }
}

pub(super) fn limits(to: &mut Examination<'_>) {
    // No limit at all is none.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let text = format!("{files} open files");
    match files {
        ..FAIL_FILES => to.fail("files", text, "ulimit -n 65536"),
        FAIL_FILES..WARN_FILES => to.warn("files", text, "ulimit -n 65536"),
        _ => to.ok("files", text),
    }
    for (name, least) in [
        ("max_user_watches", WARN_WATCHES),
        ("max_user_instances", WARN_INSTANCES),
    ] {
        // Linux's alone; elsewhere there is no such limit.
        let path = Path::new("/proc/sys/fs/inotify").join(name);
        let number = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        let Some(number) = number else { continue };
        let text = format!("fs.inotify.{name} is {number}");
        if number < least {
            to.warn(
                "inotify",
                text,
                format!("sudo sysctl fs.inotify.{name}={}", least * 8),
            );
        } else {
            to.ok("inotify", text);
        }
    }
}
