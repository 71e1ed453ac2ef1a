//! Looks at the supervisor once a second: memory, descriptors, what waits in mailboxes and outbox; and, as an owner would who
//! looks at `ps` now and then, gives parked actors another chance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orchestrator_test_support::processes;
use serde_json::Value;

use crate::control;
use crate::stage::Stage;

const LOOK: Duration = Duration::from_secs(1);
/// How long something stays parked before its owner does something about it.
const PARKED: Duration = Duration::from_secs(4);
/// A shorter half of a life says nothing.
const HALF: f64 = 30.0;

#[derive(Default)]
pub struct Gauges {
    seen: Mutex<Seen>,
    over: AtomicBool,
    looking: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Default)]
pub struct Seen {
    /// Of each life: seconds since its start, bytes.
    memory: BTreeMap<u32, Vec<(f64, f64)>>,
    pub peak_memory: u64,
    pub peak_descriptors: usize,
    pub peak_agents: usize,
    pub peak_outbox: u64,
    /// The largest of each mailbox gauge that `ps --json` has.
    pub mailboxes: BTreeMap<String, u64>,
    pub unparked: u32,
}

impl Seen {
    /// Megabytes a minute, by least squares over the second half of the longest life, and how many seconds that is: what a
    /// life takes at its beginning is no slope.
    pub fn slope(&self) -> Option<(f64, f64)> {
        let length = |life: &[(f64, f64)]| life.last().map_or(0.0, |last| last.0);
        let lives = self.memory.values();
        let longest = lives.max_by(|a, b| length(a).total_cmp(&length(b)))?;
        let end = length(longest);
        let half: Vec<_> = longest.iter().filter(|(at, _)| *at >= end / 2.0).collect();
        let seconds = end - half.first()?.0;
        if seconds < HALF {
            return None;
        }
        let n = half.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| half.iter().map(|one| of(one)).sum::<f64>() / n;
        let (t, m) = (mean(|one| one.0), mean(|one| one.1));
        let up: f64 = half.iter().map(|one| (one.0 - t) * (one.1 - m)).sum();
        let down: f64 = half.iter().map(|one| (one.0 - t).powi(2)).sum();
        Some((up / down * 60.0 / 1e6, seconds))
    }
}

impl Gauges {
    pub fn start(stage: &Arc<Stage>) -> Arc<Self> {
        let gauges = Arc::new(Self::default());
        let (mine, stage) = (Arc::clone(&gauges), Arc::clone(stage));
        let looking = std::thread::spawn(move || {
            let mut parked = BTreeMap::new();
            while !mine.over.load(Ordering::SeqCst) {
                mine.look(&stage);
                if let Some(ps) = stage.control.ps() {
                    mine.read(&ps);
                    mine.unpark(&stage, &ps, &mut parked);
                }
                std::thread::sleep(LOOK);
            }
        });
        *gauges.looking.lock().unwrap() = Some(looking);
        gauges
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(looking) = self.looking.lock().unwrap().take() {
            let _ = looking.join();
        }
    }

    fn look(&self, stage: &Stage) {
        let (pid, since) = {
            let supervisor = stage.supervisor.lock().unwrap();
            (supervisor.pid(), supervisor.started)
        };
        let Some(pid) = pid else { return };
        let Some(memory) = processes::resident(pid) else {
            return;
        };
        let life = stage.life.load(Ordering::SeqCst);
        let mut seen = self.seen.lock().unwrap();
        let at = since.elapsed().as_secs_f64();
        seen.memory
            .entry(life)
            .or_default()
            .push((at, memory as f64));
        seen.peak_memory = seen.peak_memory.max(memory);
        seen.peak_descriptors = seen.peak_descriptors.max(processes::descriptors(pid).len());
    }

    fn read(&self, ps: &Value) {
        let mut seen = self.seen.lock().unwrap();
        let outbox = ps["machine"]["outbox"].as_u64().unwrap_or_default();
        seen.peak_outbox = seen.peak_outbox.max(outbox);
        let sessions = control::sessions(ps);
        let agents = sessions
            .iter()
            .filter(|session| session["agent_pid"].is_u64());
        seen.peak_agents = seen.peak_agents.max(agents.count());
        read_mailboxes(ps, &mut seen.mailboxes);
    }

    fn unpark(&self, stage: &Stage, ps: &Value, parked: &mut BTreeMap<String, Instant>) {
        let now = control::parked(ps);
        parked.retain(|key, _| now.contains(key));
        for key in now {
            let since = *parked.entry(key.clone()).or_insert_with(Instant::now);
            if since.elapsed() > PARKED && stage.control.restart(&key) {
                stage.verdict.note(&format!("un-parked {key}"));
                self.seen.lock().unwrap().unparked += 1;
                parked.remove(&key);
            }
        }
    }
}

/// Every number under a key that speaks of a mailbox, the largest of each key.
fn read_mailboxes(value: &Value, into: &mut BTreeMap<String, u64>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let (true, Some(depth)) = (key.contains("mailbox"), value.as_u64()) {
                    let most = into.entry(key.clone()).or_default();
                    *most = depth.max(*most);
                }
                read_mailboxes(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| read_mailboxes(value, into)),
        _ => {}
    }
}
