//! Faults of sockets, and what is ordered over the control socket or from the deployment: panics, reloads, aborts. Orders run
//! beside the schedule, because whoever gets them may be stopped.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Injector, POLL, Undo};
use crate::control;
use crate::figures::Figure;
use crate::schedule::{Fault, Planned};
use crate::stage::Stage;

impl Injector {
    pub(super) fn disturb(&mut self, planned: &Planned) -> String {
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

    pub(super) fn panic(&self, planned: &Planned) -> Option<String> {
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

    pub(super) fn reload(&mut self, planned: &Planned) -> Option<String> {
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
    pub(super) fn apply(&self, broken: bool) {
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
            // Robbed of its descriptors it cannot read any file, and says just that.
            let robbed = |refusal: &serde_json::Value| {
                let message = refusal["message"].as_str().unwrap_or_default();
                message.contains("cannot read") && message.contains("(os error 24)")
            };
            let wrong = match &answer {
                Some(Ok(_)) => broken,
                Some(Err(refusal)) => !broken && refusal["code"] == "config" && !robbed(refusal),
                None => false,
            };
            if wrong {
                let what = format!("a reload (broken: {broken}) was answered {answer:?}");
                stage.verdict.wrong("file", what);
            }
        });
    }

    pub(super) fn abort(&self, pick: usize) -> Option<String> {
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
