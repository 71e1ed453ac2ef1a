//! Assistants for roles without a process: each test says what becomes of the next start, and ends them as it likes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::assistant::{AgentError, ExitReport};
use orchestrator_actors::domain::command::Casting;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::role::{Player, RoleSpec, Roles};
use tokio::sync::watch;

type Living = BTreeMap<u32, watch::Sender<Option<ExitReport>>>;

#[derive(Clone, Default)]
pub struct FakeRoles(Arc<Inner>);

#[derive(Default)]
struct Inner {
    living: Mutex<Living>,
    started: Mutex<Vec<Casting>>,
    /// What the next starts fail with.
    refuse: Mutex<Option<AgentError>>,
    /// They end by themselves, so.
    ends_at_once: Mutex<Option<ExitReport>>,
    /// A stop is heard and nothing follows.
    deaf: AtomicBool,
}

impl FakeRoles {
    /// From now on no start succeeds.
    pub fn refuse(&self, error: AgentError) {
        *self.0.refuse.lock().unwrap() = Some(error);
    }

    /// From now on every child ends as soon as it has started.
    pub fn end_at_once(&self, report: Option<ExitReport>) {
        *self.0.ends_at_once.lock().unwrap() = report;
    }

    /// From now on no stop comes to an end.
    pub fn go_deaf(&self) {
        self.0.deaf.store(true, Ordering::Relaxed);
    }

    pub fn alive(&self) -> usize {
        self.0.living.lock().unwrap().len()
    }

    pub fn started(&self) -> Vec<Casting> {
        self.0.started.lock().unwrap().clone()
    }

    /// All children end in this way.
    pub fn exit(&self, report: &ExitReport) {
        for (_, exit) in std::mem::take(&mut *self.0.living.lock().unwrap()) {
            exit.send_replace(Some(report.clone()));
        }
    }

    pub fn end_all(&self) {
        self.exit(&ExitReport::default());
    }
}

pub fn code(code: i32) -> ExitReport {
    ExitReport {
        code: Some(code),
        last_lines: vec!["not logged in".to_owned()],
        ..ExitReport::default()
    }
}

impl Roles for FakeRoles {
    fn start(&self, spec: RoleSpec) -> Pending<Result<Box<dyn Player>, AgentError>> {
        let this = self.clone();
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            if let Some(error) = this.0.refuse.lock().unwrap().clone() {
                return Err(error);
            }
            let mut started = this.0.started.lock().unwrap();
            started.push(spec.casting);
            let pid = started.len() as u32;
            let (exit, exited) = watch::channel(None);
            match this.0.ends_at_once.lock().unwrap().clone() {
                Some(report) => drop(exit.send_replace(Some(report))),
                None => drop(this.0.living.lock().unwrap().insert(pid, exit)),
            }
            drop(started);
            let roles = this.clone();
            Ok(Box::new(FakePlayer { pid, exited, roles }) as Box<dyn Player>)
        })
    }
}

struct FakePlayer {
    pid: u32,
    exited: watch::Receiver<Option<ExitReport>>,
    roles: FakeRoles,
}

impl FakePlayer {
    fn end(roles: &FakeRoles, pid: u32) {
        if let Some(exit) = roles.0.living.lock().unwrap().remove(&pid) {
            exit.send_replace(Some(ExitReport {
                signal: Some(15),
                ..ExitReport::default()
            }));
        }
    }
}

/// The lifeline.
impl Drop for FakePlayer {
    fn drop(&mut self) {
        Self::end(&self.roles, self.pid);
    }
}

impl Player for FakePlayer {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn rss_bytes(&self) -> u64 {
        1
    }

    fn exited(&self) -> Pending<ExitReport> {
        let mut exited = self.exited.clone();
        Box::pin(async move {
            let report = exited.wait_for(Option::is_some).await;
            report
                .ok()
                .and_then(|report| report.clone())
                .unwrap_or_default()
        })
    }

    fn stop(&self) -> Pending<()> {
        let (roles, pid) = (self.roles.clone(), self.pid);
        Box::pin(async move {
            if roles.0.deaf.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            Self::end(&roles, pid);
        })
    }
}
