//! Measured times, by what they are of.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    ColdStart,
    ColdStartToAgent,
    FreeToRespawn,
    CrashToAgent,
    KillToGone,
    TermToExit,
    TwentyToExit,
    PanicToServing,
    CutToSynced,
    OutageToSynced,
    OutageToAnswer,
    SentToClosed,
}

impl Figure {
    pub fn name(self) -> &'static str {
        match self {
            Self::ColdStart => "start -> all workers ready, without OpenCode",
            Self::ColdStartToAgent => "start -> first OpenCode ready, with open turns",
            Self::FreeToRespawn => "OpenCode killed under a turn: lease free -> respawn",
            Self::CrashToAgent => "OpenCode killed under a turn -> the next one ready",
            Self::KillToGone => "kill -9 of the supervisor -> no process left",
            Self::TermToExit => "SIGTERM -> exit, sessions busy",
            Self::TwentyToExit => "SIGTERM -> exit, twenty sessions busy",
            Self::PanicToServing => "panic -> its successor serves (backoff included)",
            Self::CutToSynced => "sockets cut -> synced again",
            Self::OutageToSynced => "end of an outage of 60 s -> synced",
            Self::OutageToAnswer => "end of an outage of 60 s -> all answers there",
            Self::SentToClosed => "message accepted -> closed, under faults",
        }
    }
}

#[derive(Default)]
pub struct Figures {
    times: Mutex<BTreeMap<Figure, Vec<Duration>>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub n: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Figures {
    pub fn took(&self, figure: Figure, time: Duration) {
        let mut times = self.times.lock().unwrap();
        times.entry(figure).or_default().push(time);
    }

    pub fn rows(&self) -> Vec<(Figure, Row)> {
        let mut times = self.times.lock().unwrap();
        let row = |(figure, times): (&Figure, &mut Vec<Duration>)| {
            times.sort();
            let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
            let row = Row {
                n: times.len(),
                p50: at(0.5),
                p99: at(0.99),
                max: at(1.0),
            };
            (*figure, row)
        };
        times.iter_mut().map(row).collect()
    }
}
