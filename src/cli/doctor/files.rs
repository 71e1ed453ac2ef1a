//! Secrets that others can read, and folders that cannot be written. Only modes of our own user's files are changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Examination;

pub(super) fn secrets(to: &mut Examination<'_>) {
    let paths = &to.app.paths;
    let local = paths.local();
    let mut files = vec![
        paths.workers_file.clone(),
        paths.machine_file(),
        paths.config.join("service.env"),
        paths.outbox(),
        to.app.base().current.join(crate::config::dotenv::FILE),
    ];
    // Keys, tokens, the database and its companions.
    files.extend(inside(&local));
    // What was set aside as damaged may hold what the file held.
    files.extend(
        inside(&paths.config)
            .into_iter()
            .filter(|path| is_set_aside(path)),
    );
    files.sort();
    files.dedup();
    let mut looked_at = 0;
    let mut all_well = true;
    for file in files {
        // Through links: what is read is what counts.
        let Ok(meta) = fs::metadata(&file) else {
            continue;
        };
        if !meta.is_file() {
            continue;
        }
        looked_at += 1;
        if meta.permissions().mode() & 0o077 != 0 {
            all_well = false;
            exposed(to, &file, &meta);
        }
    }
    if all_well {
        to.ok(
            "secrets",
            format!("{looked_at} files, readable by you alone"),
        );
    }
}

fn exposed(to: &mut Examination<'_>, file: &Path, meta: &fs::Metadata) {
    let shown = to.app.paths.shown(file);
    let mode = meta.permissions().mode() & 0o777;
    let text = format!("{shown} holds secrets, and others can read it ({mode:04o})");
    if meta.uid() != rustix::process::geteuid().as_raw() {
        to.fail(
            "secrets",
            format!("{text}; it is not yours"),
            format!("sudo chmod 600 {shown}"),
        );
        return;
    }
    if !to.fix {
        to.warn("secrets", text, "orchestrator doctor --fix");
        return;
    }
    match fs::set_permissions(file, fs::Permissions::from_mode(0o600)) {
        Ok(()) => to.fixed(
            "secrets",
            format!("{shown} is readable by you alone now (was {mode:04o})"),
        ),
        Err(error) => to.fail(
            "secrets",
            format!("{text}: {error}"),
            format!("chmod 600 {shown}"),
        ),
    }
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        // Not through links: those lead to somebody else's.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect()
}

fn is_set_aside(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(".damaged-"))
}

pub(super) fn folders(to: &mut Examination<'_>) {
    let paths = to.app.paths.clone();
    for (check, folder, flag) in [
        ("state", &paths.state, "choose another one with --state-dir"),
        ("data", &paths.data, "choose another one with XDG_DATA_HOME"),
        (
            "config",
            &paths.config,
            "choose another one with XDG_CONFIG_HOME",
        ),
    ] {
        let shown = paths.shown(folder);
        match unwritable(folder) {
            None => to.ok(check, format!("{shown} can be written")),
            Some(reason) => to.fail(
                check,
                format!("{shown} cannot be written: {reason}"),
                format!("make it yours (ls -ld {shown}), or {flag}"),
            ),
        }
        let set_aside: Vec<String> = inside(folder)
            .into_iter()
            .filter(|path| is_set_aside(path))
            .map(|path| paths.shown(&path))
            .collect();
        if !set_aside.is_empty() {
            to.warn(
                check,
                format!("set aside as damaged: {}", set_aside.join(", ")),
                "look at them, then remove them",
            );
        }
    }
}

/// Why not, of the folder or of the one in which it would be made. Nothing is made.
fn unwritable(folder: &Path) -> Option<String> {
    for folder in folder.ancestors() {
        match fs::metadata(folder) {
            Ok(meta) if !meta.is_dir() => {
                return Some(format!("{} is no folder", folder.display()));
            }
            Ok(_) => {
                let may = access(folder, Access::WRITE_OK | Access::EXEC_OK);
                return may
                    .err()
                    .map(|error| format!("{}: {error}", folder.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Some(format!("{}: {error}", folder.display())),
        }
    }
    None
}
