//! A command that is run to its end, with all that it printed.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::home::Ran;

/// Runs a command to its end with `input` on its stdin. At the limit it is killed with everything it started in its
/// process group, and the panic shows what it had printed.
pub fn to_end(mut command: Command, input: &str, limit: Duration) -> Ran {
    // Not its environment, which may hold a token.
    let shown = format!("{:?} {:?}", command.get_program(), command.get_args());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} cannot be started: {error}"));
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that does not read its input may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if Instant::now() > deadline {
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            panic!(
                "{shown} did not end\nstdout:\n{}\nstderr:\n{}",
                stdout.join().expect("stdout"),
                stderr.join().expect("stderr")
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: stdout.join().expect("stdout"),
        stderr: stderr.join().expect("stderr"),
    }
}

/// A program on the PATH, or what the reader has to install for it.
pub fn find(program: &str, path: Option<&OsStr>, install: &str) -> Result<PathBuf, String> {
    path.iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            format!("`{program}` is not on the PATH: install {install}, then run the tests again")
        })
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
