//! From the start of the process to "ready": `run --local` with an OpenCode installed, which is not started for it. The
//! first start makes keys, the database and a worker; a later one finds them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orchestrator_test_support::Home;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::files;
use crate::common::table::{TIMES, Table, Times};
use crate::{Samples, package};

pub fn table(samples: Samples) {
    let folder = files::folder();
    let opencode = package::opencode_package(folder.path())
        .display()
        .to_string();
    let (mut first, mut later, mut bare) = (Times::new(), Times::new(), Times::new());
    let (mut nothing, mut version) = (Times::new(), Times::new());
    for _ in 0..samples.starts {
        let mut home = Home::new(crate::ORCHESTRATOR);
        home.set("ORCHESTRATOR_OPENCODE_BIN", opencode.clone());
        first.add(ready(&home, &["run", "--local", "--port", "0"], "worker "));
        later.add(ready(&home, &["run", "--local", "--port", "0"], "worker "));
        bare.add(ready(
            &home,
            &["deployment", "run", "--port", "0"],
            "deployment ",
        ));
        version.add(ended(&mut home.command(["--version"])));
        nothing.add(ended(&mut Command::new("/bin/true")));
    }
    let mut table = Table::new("Start of the process until", &TIMES);
    table.row("run --local, first start: worker ready", first.cells());
    table.row("run --local, later start: worker ready", later.cells());
    table.row(
        "yardstick: deployment run, later start: serving",
        bare.cells(),
    );
    table.row(
        "yardstick: orchestrator --version has ended",
        version.cells(),
    );
    table.row("yardstick: /bin/true has ended", nothing.cells());
    table.print();
}

/// Until a line begins with `word`; then the process is stopped.
fn ready(home: &Home, arguments: &[&str], word: &str) -> Duration {
    let (child, took) = up(home, arguments, word);
    stop(child);
    took
}

/// Starts the binary and waits until it has printed a line that begins with `word`.
pub fn up(home: &Home, arguments: &[&str], word: &str) -> (Child, Duration) {
    let mut command = home.command(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let mut child = command.spawn().expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.starts_with(word))
        .expect("it gets ready");
    let took = begun.elapsed();
    // Its pipe stays open, or its next line would end it.
    std::thread::spawn(move || lines.for_each(drop));
    assert!(word != "worker " || line.ends_with("ready"), "{line}");
    (child, took)
}

pub fn stop(mut child: Child) {
    let pid = Pid::from_raw(child.id() as i32).expect("a pid");
    kill_process(pid, Signal::TERM).expect("a signal");
    child.wait().expect("a status");
}

fn ended(command: &mut Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    command.status().expect("a process");
    begun.elapsed()
}
