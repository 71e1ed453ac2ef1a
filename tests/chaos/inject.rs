//! Carries the schedule out: each fault against whoever is there, what it began taken back when its time is over,
//! whatever was killed started again. Nothing here waits: what could (an order to a stopped supervisor, a call to a stopped
//! deployment) runs beside.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orchestrator_test_support::processes;
use rustix::process::{Resource, Signal};
use serde_json::{Value, json};

use crate::control;
use crate::daemon::{limit, limit_files, send};
use crate::figures::Figure;
use crate::load::Load;
use crate::probes::Probes;
use crate::prompts::TOOL_SLEEP;
use crate::schedule::{Counts, Fault, Planned};
use crate::stage::Stage;

const TICK: Duration = Duration::from_millis(10);
const POLL: Duration = Duration::from_millis(5);
/// A stop with busy sessions may take this long.
const EXIT: Duration = Duration::from_secs(40);
/// After its supervisor a process is gone within this, even on a loaded machine.
const GONE: Duration = Duration::from_secs(10);

/// What ends a fault.
enum Undo {
    Continue(u32),
    StartDeployment,
    StartSupervisor,
    Release(usize),
    Undelay(usize),
    Files,
    DeploymentFiles,
    Descriptors,
    Return(usize),
}

pub struct Injector {
    stage: Arc<Stage>,
    load: Arc<Load>,
    probes: Arc<Probes>,
    undos: Vec<(Instant, Undo)>,
    counts: Arc<Mutex<Counts>>,
    missed: u32,
    terminating: Option<Instant>,
    /// One reload at a time, and no start on a broken file.
    reloading: Arc<Mutex<()>>,
}

impl Injector {
    pub fn new(stage: &Arc<Stage>, load: &Arc<Load>) -> Self {
        Self {
            stage: Arc::clone(stage),
            load: Arc::clone(load),
            probes: Arc::default(),
            undos: Vec::new(),
            counts: Arc::default(),
            missed: 0,
            terminating: None,
            reloading: Arc::default(),
        }
    }

    /// The whole schedule, in real time. Afterwards everything runs again, undisturbed.
    pub fn play(&mut self, plan: &[Planned], length: Duration) -> Counts {
        let began = Instant::now();
        let mut plan = plan.iter().peekable();
        while began.elapsed() < length {
            while let Some(planned) = plan.next_if(|planned| planned.at <= began.elapsed()) {
                let hit = self.inject(planned);
                let line = match &hit {
                    Some(what) => format!("{planned}  {what}"),
                    None => format!("{planned}  nobody there"),
                };
                self.stage.verdict.note(&line);
                self.missed += u32::from(hit.is_none());
            }
            self.tick(false);
            std::thread::sleep(TICK);
        }
        while !self.undos.is_empty() || self.terminating.is_some() {
            self.tick(true);
            std::thread::sleep(TICK);
        }
        self.probes.join();
        self.counts.lock().unwrap().clone()
    }

    pub fn missed(&self) -> u32 {
        self.missed
    }

    fn after(&mut self, time: Duration, undo: Undo) {
        self.undos.push((Instant::now() + time, undo));
    }

    fn count(&self, fault: Fault) {
        *self.counts.lock().unwrap().entry(fault).or_default() += 1;
    }

    /// What was hit; `None` when there was nothing.
    fn inject(&mut self, planned: &Planned) -> Option<String> {
        let Planned { pick, lasts, .. } = *planned;
        let hit = match planned.fault {
            Fault::KillAgent => self.kill_agent(pick),
            Fault::KillTool => one(&self.tools(), pick).inspect(|pid| send(*pid, Signal::KILL)),
            Fault::KillWarden => one(&self.wardens(), pick).inspect(|pid| send(*pid, Signal::KILL)),
            Fault::StopAgent => self.freeze(one(&self.agents(), pick), lasts),
            Fault::StopWarden => self.freeze(one(&self.wardens(), pick), lasts),
            Fault::StopSupervisor => self.freeze(self.living_supervisor(), lasts),
            Fault::StopDeployment => self.freeze(self.stage.deployment_pid(), lasts),
            Fault::KillSupervisor => self.kill_supervisor(lasts, false),
            Fault::KillSupervisorAndWardens => self.kill_supervisor(lasts, true),
            Fault::KillDeployment => self.kill_deployment(lasts),
            Fault::Terminate => self.terminate(),
            Fault::DiskFullSupervisor => self.fill_disk(self.living_supervisor(), lasts),
            Fault::DiskFullDeployment => {
                let pid = self.stage.deployment_pid()?;
                limit_files([pid], Some(0));
                self.after(lasts, Undo::DeploymentFiles);
                Some(pid)
            }
            Fault::NoDescriptors => self.take_descriptors(lasts),
            Fault::CutSockets | Fault::DelaySockets | Fault::BlackHole => {
                return Some(self.disturb(planned));
            }
            Fault::PanicSession | Fault::PanicWorker | Fault::PanicBridge => {
                return self.panic(planned);
            }
            Fault::ReloadIdle | Fault::ReloadBroken | Fault::ReloadRemove => {
                return self.reload(planned);
            }
            Fault::Abort => return self.abort(pick),
        };
        let pid = hit?;
        self.count(planned.fault);
        Some(format!("pid {pid}"))
    }

    // ---- who is there -------------------------------------------------------------------------------------------

    /// Unless it is about to end.
    fn living_supervisor(&self) -> Option<u32> {
        self.terminating
            .map_or_else(|| self.stage.supervisor_pid(), |_| None)
    }

    fn wardens(&self) -> Vec<u32> {
        let children = self.stage.supervisor_pid().map(processes::children);
        let mut wardens = children.unwrap_or_default();
        wardens.retain(|pid| processes::command_line(*pid).contains("__warden"));
        wardens
    }

    fn agents(&self) -> Vec<u32> {
        let wardens = self.wardens().into_iter();
        wardens
            .flat_map(processes::children)
            .filter(|pid| processes::command_line(*pid).contains(" serve "))
            .collect()
    }

    fn tools(&self) -> Vec<u32> {
        let below = self.stage.supervisor_pid().map(processes::descendants);
        let mut tools = below.unwrap_or_default();
        tools.retain(|pid| processes::command_line(*pid).contains(TOOL_SLEEP));
        tools
    }

    // ---- processes ----------------------------------------------------------------------------------------------

    fn kill_agent(&self, pick: usize) -> Option<u32> {
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

    fn freeze(&mut self, pid: Option<u32>, lasts: Duration) -> Option<u32> {
        let pid = pid?;
        send(pid, Signal::STOP);
        self.after(lasts, Undo::Continue(pid));
        Some(pid)
    }

    fn is_anybody_frozen(&self) -> bool {
        self.undos
            .iter()
            .any(|(_, undo)| matches!(undo, Undo::Continue(_)))
    }

    fn kill_supervisor(&mut self, lasts: Duration, and_wardens: bool) -> Option<u32> {
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

    fn kill_deployment(&mut self, lasts: Duration) -> Option<u32> {
        let pid = self.stage.deployment_pid()?;
        self.stage.deployment.lock().unwrap().kill();
        self.after(lasts, Undo::StartDeployment);
        Some(pid)
    }

    fn terminate(&mut self) -> Option<u32> {
        let pid = self.living_supervisor()?;
        send(pid, Signal::TERM);
        self.terminating = Some(Instant::now());
        Some(pid)
    }

    fn start_supervisor(&self) {
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

    // ---- resources ----------------------------------------------------------------------------------------------

    fn fill_disk(&mut self, pid: Option<u32>, lasts: Duration) -> Option<u32> {
        let pid = pid?;
        limit_files([pid], Some(0));
        self.after(lasts, Undo::Files);
        Some(pid)
    }

    fn take_descriptors(&mut self, lasts: Duration) -> Option<u32> {
        let pid = self.living_supervisor()?;
        let open = processes::descriptors(pid).len() as u64;
        limit([pid], Resource::Nofile, Some(open));
        self.after(lasts, Undo::Descriptors);
        Some(pid)
    }

    /// Children that were started meanwhile have inherited the limit.
    fn supervisor_and_below(&self) -> Vec<u32> {
        let Some(pid) = self.stage.supervisor_pid() else {
            return Vec::new();
        };
        let mut all = processes::descendants(pid);
        all.push(pid);
        all
    }

    // ---- sockets ------------------------------------------------------------------------------------------------

    fn disturb(&mut self, planned: &Planned) -> String {
        let at = planned.pick % self.stage.lanes.len();
        let lane = &self.stage.lanes[at];
        match planned.fault {
            Fault::DelaySockets => {
                lane.delay(Duration::from_millis(30 + (planned.pick % 300) as u64));
                self.after(planned.lasts, Undo::Undelay(at));
            }
            Fault::BlackHole => {
                lane.hold();
                self.after(planned.lasts, Undo::Release(at));
            }
            _ => {
                lane.cut();
                let url = lane.url();
                self.probes
                    .watch(&self.stage, Figure::CutToSynced, POLL, move |stage| {
                        is_synced(&stage.control.ps().unwrap_or_default(), &url)
                    });
            }
        }
        self.count(planned.fault);
        format!("lane {at}")
    }

    // ---- orders over the control socket, and calls ---------------------------------------------------------------

    fn panic(&self, planned: &Planned) -> Option<String> {
        self.living_supervisor()?;
        let key = match planned.fault {
            Fault::PanicWorker => {
                let worker = &self.stage.workers[planned.pick % self.stage.workers.len()];
                format!("worker/{}", worker.id)
            }
            Fault::PanicBridge => {
                let lane = &self.stage.lanes[planned.pick % self.stage.lanes.len()];
                format!("bridge/{}", lane.url())
            }
            _ => {
                let open = self.load.open();
                format!(
                    "session/{}",
                    open.get(planned.pick % open.len().max(1))?.session
                )
            }
        };
        let (stage, probes) = (Arc::clone(&self.stage), Arc::clone(&self.probes));
        let (counts, fault, order) = (Arc::clone(&self.counts), planned.fault, key.clone());
        self.probes.run(move || {
            let before = standing(&stage.control.ps().unwrap_or_default(), &order);
            let Some((restarts, _)) = before else { return };
            if !stage.control.panic(&order) {
                return;
            }
            *counts.lock().unwrap().entry(fault).or_default() += 1;
            let poll = Duration::from_millis(1);
            probes.watch(&stage, Figure::PanicToServing, poll, move |stage| {
                let now = standing(&stage.control.ps().unwrap_or_default(), &order);
                now.is_some_and(|(now, serves)| now > restarts && serves)
            });
        });
        Some(key)
    }

    fn reload(&mut self, planned: &Planned) -> Option<String> {
        self.living_supervisor()?;
        let what = match planned.fault {
            Fault::ReloadRemove => {
                let at = planned.pick % self.stage.workers.len();
                let mut config = self.stage.config.lock().unwrap();
                if config.away.len() + 1 >= self.stage.workers.len() || !config.away.insert(at) {
                    return None;
                }
                drop(config);
                self.after(planned.lasts, Undo::Return(at));
                format!("worker {at}")
            }
            Fault::ReloadIdle => {
                let mut config = self.stage.config.lock().unwrap();
                config.idle_ms = [Stage::calm_idle_ms(), 2_000][planned.pick % 2];
                format!("{} ms", config.idle_ms)
            }
            _ => "half a file".to_owned(),
        };
        self.count(planned.fault);
        self.apply(planned.fault == Fault::ReloadBroken);
        Some(what)
    }

    /// Writes the file and has it read.
    fn apply(&self, broken: bool) {
        let (stage, reloading) = (Arc::clone(&self.stage), Arc::clone(&self.reloading));
        self.probes.run(move || {
            let _reloading = reloading.lock().unwrap();
            stage.config.lock().unwrap().broken = broken;
            stage.write_config();
            let answer = stage.control.reload();
            if broken {
                stage.config.lock().unwrap().broken = false;
                stage.write_config();
            }
            let wrong = match &answer {
                Some(Ok(_)) => broken,
                Some(Err(refusal)) => !broken && refusal["code"] == "config",
                None => false,
            };
            if wrong {
                let what = format!("a reload (broken: {broken}) was answered {answer:?}");
                stage.verdict.wrong("file", what);
            }
        });
    }

    fn abort(&self, pick: usize) -> Option<String> {
        let open = self.load.open();
        let victim = open.get(pick % open.len().max(1))?.clone();
        self.count(Fault::Abort);
        let stage = Arc::clone(&self.stage);
        self.probes.run(move || {
            let args = json!({ "turnId": victim.turn });
            let _ = stage
                .owner
                .ask(&stage.server, "mutation", "messages:abort", &args);
        });
        Some(open[pick % open.len()].name.clone())
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    /// Takes back what is over (`all`: everything), and looks who has ended.
    fn tick(&mut self, all: bool) {
        let now = Instant::now();
        let undos = std::mem::take(&mut self.undos);
        let (due, later) = undos.into_iter().partition(|(at, _)| all || *at <= now);
        self.undos = later;
        let due: Vec<(Instant, Undo)> = due;
        for (_, undo) in due {
            self.undo(undo);
        }
        self.look_at_supervisor();
        self.look_at_deployment();
    }

    fn undo(&self, undo: Undo) {
        match undo {
            Undo::Continue(pid) => send(pid, Signal::CONT),
            Undo::StartDeployment => self.stage.start_deployment(),
            Undo::StartSupervisor => self.start_supervisor(),
            Undo::Release(lane) => {
                let lane = &self.stage.lanes[lane];
                // What was held is lost with its sockets.
                lane.cut();
                lane.release();
            }
            Undo::Undelay(lane) => self.stage.lanes[lane].delay(Duration::ZERO),
            Undo::Files => limit_files(self.supervisor_and_below(), None),
            Undo::DeploymentFiles => limit_files(self.stage.deployment_pid(), None),
            Undo::Descriptors => limit(self.supervisor_and_below(), Resource::Nofile, None),
            Undo::Return(at) => {
                self.stage.config.lock().unwrap().away.remove(&at);
                self.apply(false);
            }
        }
    }

    fn look_at_supervisor(&mut self) {
        let ended = self.stage.supervisor.lock().unwrap().ended();
        match (ended, self.terminating) {
            (Some(status), Some(since)) => {
                self.terminating = None;
                self.stage.figures.took(Figure::TermToExit, since.elapsed());
                if !status.success() {
                    let what = format!("the supervisor's stop ended with {status}");
                    self.stage.verdict.wrong("ended", what);
                }
                self.start_supervisor();
            }
            (Some(status), None) => {
                let what = format!("the supervisor ended by itself with {status}");
                self.stage.verdict.wrong("ended", what);
                self.start_supervisor();
            }
            (None, Some(since)) if since.elapsed() > EXIT => {
                let what = format!("the supervisor did not stop within {} s", EXIT.as_secs());
                self.stage.verdict.wrong("ended", what);
                self.terminating = None;
                self.stage.supervisor.lock().unwrap().kill();
                self.start_supervisor();
            }
            _ => {}
        }
    }

    fn look_at_deployment(&self) {
        let ended = self.stage.deployment.lock().unwrap().ended();
        if let Some(status) = ended {
            let what = format!("the deployment ended by itself with {status}");
            self.stage.verdict.wrong("ended", what);
            self.stage.start_deployment();
        }
    }
}

fn one(of: &[u32], pick: usize) -> Option<u32> {
    of.get(pick % of.len().max(1)).copied()
}

pub fn is_synced(ps: &Value, url: &str) -> bool {
    let bridges = ps["bridges"].as_array().cloned().unwrap_or_default();
    bridges
        .iter()
        .any(|bridge| bridge["url"] == url && bridge["phase"] == "synced")
}

/// How often an actor was replaced, and whether it serves now.
fn standing(ps: &Value, key: &str) -> Option<(u64, bool)> {
    let list = |name: &str| ps[name].as_array().cloned().unwrap_or_default();
    let mut all = control::sessions(ps);
    all.extend(list("workers"));
    all.extend(list("bridges"));
    let actor = all.into_iter().find(|actor| actor["key"] == key)?;
    let away = ["restarting", "parked", "stopping", "failed"];
    let serves = !away.iter().any(|phase| actor["phase"] == *phase);
    Some((actor["restarts"].as_u64()?, serves))
}
