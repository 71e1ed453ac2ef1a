//! What happens when: drawn whole from the seed before anything starts. A fault names its victim by a number that is
//! taken modulo what is there at that moment, so the same seed gives the same schedule, and much the same run.
//!
//! Faults cost differently: a cut socket is over in milliseconds, a dead OpenCode is four seconds of a processor, a
//! dead supervisor that times all sessions. Each class has a spacing of its own, and the cheap ones fill the time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::options::Options;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillAgent,
    KillTool,
    KillWarden,
    KillSupervisor,
    KillSupervisorAndWardens,
    KillDeployment,
    StopAgent,
    StopWarden,
    StopSupervisor,
    StopDeployment,
    CutSockets,
    DelaySockets,
    BlackHole,
    PanicSession,
    PanicWorker,
    PanicBridge,
    DiskFullSupervisor,
    DiskFullDeployment,
    NoDescriptors,
    ReloadIdle,
    ReloadBroken,
    ReloadRemove,
    Terminate,
    Abort,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::KillAgent => "kill -9 of an OpenCode",
            Self::KillTool => "kill -9 of a tool",
            Self::KillWarden => "kill -9 of a warden",
            Self::KillSupervisor => "kill -9 of the supervisor",
            Self::KillSupervisorAndWardens => "kill -9 of supervisor and wardens",
            Self::KillDeployment => "kill -9 of the deployment",
            Self::StopAgent => "SIGSTOP of an OpenCode",
            Self::StopWarden => "SIGSTOP of a warden",
            Self::StopSupervisor => "SIGSTOP of the supervisor",
            Self::StopDeployment => "SIGSTOP of the deployment",
            Self::CutSockets => "sockets cut",
            Self::DelaySockets => "sockets delayed",
            Self::BlackHole => "sockets black-holed",
            Self::PanicSession => "panic of a session",
            Self::PanicWorker => "panic of a worker",
            Self::PanicBridge => "panic of a bridge",
            Self::DiskFullSupervisor => "disk full for the supervisor",
            Self::DiskFullDeployment => "disk full for the deployment",
            Self::NoDescriptors => "no descriptors for the supervisor",
            Self::ReloadIdle => "reload: another idle timeout",
            Self::ReloadBroken => "reload: a broken file",
            Self::ReloadRemove => "reload: worker away and back",
            Self::Terminate => "SIGTERM and start",
            Self::Abort => "abort by the owner",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Nothing has to be started again.
    Cheap,
    /// An OpenCode or two.
    Middle,
    /// All of them.
    Dear,
}

/// Fault, class, weight within its class.
const KINDS: &[(Fault, Class, u32)] = &[
    (Fault::CutSockets, Class::Cheap, 14),
    (Fault::DelaySockets, Class::Cheap, 6),
    (Fault::BlackHole, Class::Cheap, 4),
    (Fault::PanicBridge, Class::Cheap, 8),
    (Fault::KillDeployment, Class::Cheap, 8),
    (Fault::StopDeployment, Class::Cheap, 5),
    (Fault::StopSupervisor, Class::Cheap, 5),
    (Fault::StopAgent, Class::Cheap, 8),
    (Fault::StopWarden, Class::Cheap, 5),
    (Fault::KillTool, Class::Cheap, 10),
    (Fault::Abort, Class::Cheap, 8),
    (Fault::ReloadIdle, Class::Cheap, 3),
    (Fault::ReloadBroken, Class::Cheap, 2),
    (Fault::DiskFullSupervisor, Class::Cheap, 3),
    (Fault::DiskFullDeployment, Class::Cheap, 3),
    (Fault::NoDescriptors, Class::Cheap, 2),
    (Fault::KillAgent, Class::Middle, 8),
    (Fault::KillWarden, Class::Middle, 6),
    (Fault::PanicSession, Class::Middle, 7),
    (Fault::PanicWorker, Class::Middle, 3),
    (Fault::ReloadRemove, Class::Middle, 2),
    (Fault::KillSupervisor, Class::Dear, 4),
    (Fault::KillSupervisorAndWardens, Class::Dear, 3),
    (Fault::Terminate, Class::Dear, 3),
];

/// Between two of a class, in seconds: from, to.
fn spacing(class: Class) -> (f64, f64) {
    match class {
        Class::Cheap => (0.4, 2.6),
        Class::Middle => (4.0, 11.0),
        Class::Dear => (45.0, 90.0),
    }
}

#[derive(Clone, Debug)]
pub struct Planned {
    pub number: usize,
    pub at: Duration,
    pub fault: Fault,
    /// Who is hit, modulo what is there.
    pub pick: usize,
    /// Of what does not end by itself.
    pub lasts: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "#{:<4} {:8.3} s  {:<36} pick {:<3} lasts {:.3} s",
            self.number,
            self.at.as_secs_f64(),
            self.fault.name(),
            self.pick,
            self.lasts.as_secs_f64()
        )
    }
}

/// The whole schedule, in order.
pub fn draw(options: &Options) -> Vec<Planned> {
    let mut chance = StdRng::seed_from_u64(options.seed);
    let end = options.minutes * 60.0;
    let mut plan = Vec::new();
    for class in [Class::Cheap, Class::Middle, Class::Dear] {
        let (from, to) = spacing(class);
        // A dear one late would leave the last supervisor too short a life to look at.
        let until = if class == Class::Dear { end * 0.7 } else { end };
        // A short run has one of each class at least.
        let mut at = chance.random_range(from..to).min(end * 0.3);
        while at < until {
            plan.push(one(class, at, &mut chance));
            at += chance.random_range(from..to);
        }
    }
    plan.sort_by_key(|planned| planned.at);
    for (number, planned) in plan.iter_mut().enumerate() {
        planned.number = number + 1;
    }
    plan
}

fn one(class: Class, at: f64, chance: &mut StdRng) -> Planned {
    let kinds = KINDS.iter().filter(|kind| kind.1 == class);
    let total: u32 = kinds.clone().map(|kind| kind.2).sum();
    let mut drawn = chance.random_range(0..total);
    let mut fault = Fault::CutSockets;
    for (kind, _, weight) in kinds {
        fault = *kind;
        if drawn < *weight {
            break;
        }
        drawn -= weight;
    }
    Planned {
        number: 0,
        at: Duration::from_secs_f64(at),
        fault,
        pick: chance.random_range(0..1000),
        lasts: Duration::from_secs_f64(lasting(fault, chance)),
    }
}

fn lasting(fault: Fault, chance: &mut StdRng) -> f64 {
    let (from, to) = match fault {
        // Now and then long enough to be taken for dead.
        Fault::StopAgent if chance.random_ratio(1, 12) => (20.0, 30.0),
        Fault::StopAgent | Fault::StopWarden => (0.2, 4.0),
        Fault::StopSupervisor | Fault::StopDeployment => (0.1, 3.0),
        Fault::DelaySockets => (1.0, 5.0),
        Fault::BlackHole if chance.random_ratio(1, 8) => (15.0, 40.0),
        Fault::BlackHole | Fault::ReloadRemove => (0.5, 6.0),
        Fault::KillDeployment | Fault::KillSupervisor | Fault::KillSupervisorAndWardens => {
            (0.0, 2.5)
        }
        Fault::DiskFullSupervisor | Fault::DiskFullDeployment | Fault::NoDescriptors => (0.5, 4.0),
        _ => return 0.0,
    };
    chance.random_range(from..to)
}

/// How often each fault hit something.
pub type Counts = BTreeMap<Fault, u32>;
