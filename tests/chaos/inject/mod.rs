//! Carries the schedule out: each fault against whoever is there, what it began taken back when its time is over,
//! whatever was killed started again. Nothing here waits: what could (an order to a stopped supervisor, a call to a stopped
//! deployment) runs beside.

mod orders;
mod processes;

pub use orders::is_synced;
use processes::one;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal};

use crate::daemon::{limit, limit_files, send};
use crate::figures::Figure;
use crate::load::Load;
use crate::probes::Probes;
use crate::schedule::{Counts, Fault, Planned};
use crate::stage::Stage;

const TICK: Duration = Duration::from_millis(10);
const POLL: Duration = Duration::from_millis(5);
/// A stop with busy sessions may take this long.
const EXIT: Duration = Duration::from_secs(40);

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
