//! The same process once more, from its binary as that is now: the pid stays, so a service manager, a shell or a terminal
//! that waits for it sees no end. For `orchestrator restart` after an upgrade.
//!
//! `exec` closes every descriptor of ours (all are close-on-exec): locks are free, sockets are gone, and the lifelines of
//! wardens that are left close, which ends their children.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// What Linux puts behind the name of a binary that has been replaced.
const REPLACED: &str = " (deleted)";

/// A token is taken over once, by whoever asked for it.
const ONCE: &str = "--take-over";

/// Comes back only when it failed.
pub fn start_again() -> io::Error {
    Command::new(binary())
        .args(arguments(std::env::args_os()))
        .exec()
}

fn arguments(all: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    all.skip(1).filter(|argument| argument != ONCE)
}

/// Where our binary was when we started: an upgrade has put its successor there.
fn binary() -> PathBuf {
    let own = super::own_binary();
    let Ok(started) = std::env::current_exe() else {
        return own;
    };
    let name = started.to_string_lossy();
    let path = PathBuf::from(name.strip_suffix(REPLACED).unwrap_or(&name));
    if path.is_file() { path } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_the_same_but_for_the_take_over() {
        let all = ["orchestrator", "run", "--take-over", "--local", "a b"];
        let again: Vec<OsString> = arguments(all.into_iter().map(OsString::from)).collect();
        assert_eq!(again, ["run", "--local", "a b"].map(OsString::from));
    }

    #[test]
    fn a_binary_that_is_where_it_was_is_started_by_its_path() {
        assert_eq!(binary(), std::env::current_exe().unwrap());
    }
}
