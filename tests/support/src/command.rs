//! A command that is run to its end, with all that it printed.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::Ran;
use crate::processes::descendants;

/// Runs a command to its end with `input` on its stdin. At the limit it is killed with all its descendants, and the
/// panic shows what it had printed. It stays in the terminal's process group, so that Ctrl+C ends it with the tests.
pub fn to_end(mut command: Command, input: &str, limit: Duration) -> Ran {
    // Not its environment, which may hold a token.
    let program = command.get_program().display();
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let shown = format!("`{program} {}`", args.join(" "));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
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
            // While it lives they are its descendants; they hold the pipes open that are read to their ends below.
            let below = descendants(child.id());
            let _ = child.kill();
            for pid in below
                .into_iter()
                .filter_map(|pid| Pid::from_raw(pid as i32))
            {
                let _ = kill_process(pid, Signal::KILL);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_killed_with_its_descendants() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo started; sleep 600; echo over"]);
        let ran = std::thread::spawn(|| to_end(shell, "", Duration::from_secs(1))).join();
        let said = ran.expect_err("it does not end in a second");
        let said = said.downcast_ref::<String>().expect("a text");
        assert!(
            said.contains("did not end\nstdout:\nstarted\n\nstderr:\n"),
            "{said}"
        );
    }
}
