//! Faults of processes: who is there, found in `/proc` because a stopped supervisor answers nobody; killed, stopped, told to
//! end, robbed of disk or descriptors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestrator_test_support::processes;
use rustix::process::{Resource, Signal};

use super::{Injector, POLL, Undo};
use crate::control;
use crate::daemon::{limit, limit_files, send};
use crate::figures::Figure;
use crate::prompts::TOOL_SLEEP;
use crate::stage::Stage;

/// After its supervisor a process is gone within this, even on a loaded machine.
const GONE: Duration = Duration::from_secs(10);

impl Injector {
    /// Unless it is about to end.
    pub(super) fn living_supervisor(&self) -> Option<u32> {
        self.terminating
            .map_or_else(|| self.stage.supervisor_pid(), |_| None)
    }

    pub(super) fn wardens(&self) -> Vec<u32> {
        let children = self.stage.supervisor_pid().map(processes::children);
        let mut wardens = children.unwrap_or_default();
        wardens.retain(|pid| processes::command_line(*pid).contains("__warden"));
        wardens
    }

    pub(super) fn agents(&self) -> Vec<u32> {
        let wardens = self.wardens().into_iter();
        wardens
            .flat_map(processes::children)
            .filter(|pid| processes::command_line(*pid).contains(" serve "))
            .collect()
    }

    pub(super) fn tools(&self) -> Vec<u32> {
        let below = self.stage.supervisor_pid().map(processes::descendants);
        let mut tools = below.unwrap_or_default();
        tools.retain(|pid| processes::command_line(*pid).contains(TOOL_SLEEP));
        tools
    }

    pub(super) fn kill_agent(&self, pick: usize) -> Option<u32> {
        let pid = one(&self.agents(), pick)?;
        send(pid, Signal::KILL);
        let stage = Arc::clone(&self.stage);
        let probes = Arc::clone(&self.probes);
        // Only under a turn is there a next one at once. The table still names the dead one, or has just noticed.
        self.probes.run(move || {
            let session = stage.control.ps().and_then(|ps| {
                let mut sessions = control::sessions(&ps).into_iter();
                sessions.find(|session| session["agent_pid"] == pid && session["turn"].is_string())
            });
            let Some(session) = session else { return };
            stage.killed.lock().unwrap().push(pid);
            let key = session["key"].clone();
            probes.watch(&stage, Figure::CrashToAgent, POLL, move |stage| {
                let ps = stage.control.ps().unwrap_or_default();
                let now = control::sessions(&ps)
                    .into_iter()
                    .find(|session| session["key"] == key);
                now.is_some_and(|now| now["agent_pid"].is_u64() && now["agent_pid"] != pid)
            });
        });
        Some(pid)
    }

    pub(super) fn freeze(&mut self, pid: Option<u32>, lasts: Duration) -> Option<u32> {
        let pid = pid?;
        send(pid, Signal::STOP);
        self.after(lasts, Undo::Continue(pid));
        Some(pid)
    }

    pub(super) fn is_anybody_frozen(&self) -> bool {
        self.undos
            .iter()
            .any(|(_, undo)| matches!(undo, Undo::Continue(_)))
    }

    pub(super) fn kill_supervisor(&mut self, lasts: Duration, and_wardens: bool) -> Option<u32> {
        let pid = self.living_supervisor()?;
        let below = processes::descendants(pid);
        let wardens = self.wardens();
        self.stage.supervisor.lock().unwrap().kill();
        let killed = Instant::now();
        if and_wardens {
            for warden in wardens {
                send(warden, Signal::KILL);
            }
        } else {
            let (stage, frozen) = (Arc::clone(&self.stage), self.is_anybody_frozen());
            self.probes.run(move || {
                while below.iter().any(|pid| processes::is_alive(*pid)) {
                    // Who is stopped cannot go.
                    if killed.elapsed() > GONE && !frozen {
                        let left: Vec<String> = below
                            .iter()
                            .filter(|pid| processes::is_alive(**pid))
                            .map(|pid| format!("{pid} {}", processes::command_line(*pid)))
                            .collect();
                        stage
                            .verdict
                            .wrong("orphan", format!("after a kill: {left:?}"));
                        return;
                    }
                    if killed.elapsed() > GONE * 5 {
                        return;
                    }
                    std::thread::sleep(POLL);
                }
                if !frozen {
                    stage.figures.took(Figure::KillToGone, killed.elapsed());
                }
            });
        }
        self.after(lasts, Undo::StartSupervisor);
        Some(pid)
    }

    pub(super) fn kill_deployment(&mut self, lasts: Duration) -> Option<u32> {
        let pid = self.stage.deployment_pid()?;
        self.stage.deployment.lock().unwrap().kill();
        self.after(lasts, Undo::StartDeployment);
        Some(pid)
    }

    pub(super) fn terminate(&mut self) -> Option<u32> {
        let pid = self.living_supervisor()?;
        send(pid, Signal::TERM);
        self.terminating = Some(Instant::now());
        Some(pid)
    }

    pub(super) fn start_supervisor(&self) {
        let _reloading = self.reloading.lock().unwrap();
        self.stage.start_supervisor();
        let busy = !self.load.open().is_empty();
        self.probes
            .watch(&self.stage, Figure::ColdStart, POLL, Stage::is_ready);
        if busy {
            self.probes
                .watch(&self.stage, Figure::ColdStartToAgent, POLL, |stage| {
                    let ps = stage.control.ps().unwrap_or_default();
                    let sessions = control::sessions(&ps);
                    sessions.iter().any(|one| one["agent_pid"].is_u64())
                });
        }
    }

    pub(super) fn fill_disk(&mut self, pid: Option<u32>, lasts: Duration) -> Option<u32> {
        let pid = pid?;
        limit_files([pid], Some(0));
        self.after(lasts, Undo::Files);
        Some(pid)
    }

    pub(super) fn take_descriptors(&mut self, lasts: Duration) -> Option<u32> {
        let pid = self.living_supervisor()?;
        let open = processes::descriptors(pid).len() as u64;
        limit([pid], Resource::Nofile, Some(open));
        self.after(lasts, Undo::Descriptors);
        Some(pid)
    }

    /// Children that were started meanwhile have inherited the limit.
    pub(super) fn supervisor_and_below(&self) -> Vec<u32> {
        let Some(pid) = self.stage.supervisor_pid() else {
            return Vec::new();
        };
        let mut all = processes::descendants(pid);
        all.push(pid);
        all
    }
}

pub(super) fn one(of: &[u32], pick: usize) -> Option<u32> {
    of.get(pick % of.len().max(1)).copied()
}
