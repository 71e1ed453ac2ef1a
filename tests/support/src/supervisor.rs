//! A running `orchestrator run`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::home::Home;
use crate::wait::{eventually, until};

pub struct Supervisor<'a> {
    home: &'a Home,
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn start(home: &'a Home, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let printed = Arc::new(Mutex::new(String::new()));
        drain(child.stdout.take().expect("a pipe"), printed.clone());
        drain(child.stderr.take().expect("a pipe"), printed.clone());
        let mut supervisor = Self {
            home,
            child,
            printed,
        };
        until("the supervisor answers `ps`", || {
            if let Some(status) = supervisor.child.try_wait().expect("a status") {
                panic!(
                    "the supervisor ended with {status}:\n{}",
                    supervisor.printed()
                );
            }
            (home.run(["ps", "--json"]).code == 0).then_some(())
        });
        supervisor
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far, both streams.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// `ps --json`.
    pub fn ps(&self) -> Value {
        self.home.run(["ps", "--json"]).exits(0).json()
    }

    /// All sessions of `ps --json`.
    pub fn sessions(&self) -> Vec<Value> {
        let ps = self.ps();
        let workers = ps["workers"].as_array().cloned().unwrap_or_default();
        workers
            .iter()
            .flat_map(|worker| worker["sessions"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// Waits until a session satisfies `holds`, then gives it as `ps` shows it.
    pub fn session(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(
            &format!("a session that {what}: {:?}", self.sessions()),
            || self.sessions().into_iter().find(|session| holds(session)),
        )
    }

    /// Waits until every worker is in `phase`.
    pub fn workers_are(&self, phase: &str) {
        eventually(&format!("all workers {phase}"), || {
            let ps = self.ps();
            let workers = ps["workers"].as_array().cloned().unwrap_or_default();
            !workers.is_empty() && workers.iter().all(|worker| worker["phase"] == phase)
        });
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, signal).expect("a signal");
        }
    }

    /// `kill -9`, and waits for the process only.
    pub fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("a status");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        until("the supervisor ends", || {
            self.child.try_wait().expect("a status")
        })
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the supervisor printed:\n{}", self.printed());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(pipe: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
