//! What follows the faults: an outage of a minute; a calm in which everything has to come back to where it began, compared
//! with a supervisor that has just been started; and a stop with twenty busy sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orchestrator_test_support::{Model, processes, script};
use rustix::process::Signal;
use serde_json::json;

use crate::control;
use crate::figures::Figure;
use crate::inject::is_synced;
use crate::load::{Load, Sent, end_of, is_closed};
use crate::options::Options;
use crate::prompts;
use crate::stage::Stage;

const OUTAGE: Duration = Duration::from_mins(1);
const ANSWERS: Duration = Duration::from_mins(6);
const CALM: Duration = Duration::from_mins(1);
/// Twenty cold starts, two at a time.
const BOOTS: Duration = Duration::from_mins(8);
/// Descriptors may differ by what is open for a moment: a connection of `ps`, a log file that was just rolled.
const SPARE_DESCRIPTORS: usize = 2;
/// An allocator keeps what it had at the peak.
const SPARE_MEMORY: u64 = 24 << 20;

/// One plain message to every session that there is; they are waited for.
fn ask_everybody(stage: &Stage, load: &Load, tag: &str, meanwhile: impl FnOnce()) -> bool {
    let mut sessions: Vec<String> = {
        let sent = load.sent.lock().unwrap();
        sent.iter().map(|one| one.session.clone()).collect()
    };
    sessions.sort();
    sessions.dedup();
    let mut asked = Vec::new();
    for (at, session) in sessions.iter().enumerate() {
        let name = format!("{tag}-{at}");
        let prompt = prompts::plain(&format!("<<{name}>> begins. "));
        let args = json!({ "id": name, "sessionId": session, "content": prompt.content });
        let answer = stage
            .owner
            .ask(&stage.server, "mutation", "messages:send", &args);
        let Ok(answer) = answer else { continue };
        let sent = Sent {
            name,
            session: session.clone(),
            turn: answer["turnId"].as_str().unwrap_or_default().to_owned(),
            prompt,
            accepted: Instant::now(),
            end: None,
        };
        load.sent.lock().unwrap().push(sent.clone());
        asked.push(sent);
    }
    meanwhile();
    stage.within(ANSWERS, &format!("all answers of {tag}"), || {
        asked.retain(|sent| !is_answered(stage, load, sent));
        asked.is_empty()
    })
}

fn is_answered(stage: &Stage, load: &Load, sent: &Sent) -> bool {
    let args = json!({ "sessionId": sent.session, "limit": 4 });
    let list = stage
        .owner
        .ask(&stage.server, "query", "messages:list", &args);
    let list = list.unwrap_or_default();
    let rows = list["messages"].as_array().cloned().unwrap_or_default();
    let row = rows.iter().find(|row| row["id"] == sent.turn.as_str());
    let Some(row) = row.filter(|row| is_closed(row)) else {
        return false;
    };
    let end = end_of(row);
    if end.state != "complete" {
        let what = format!("{} in a calm was {end:?}", sent.name);
        stage.verdict.wrong("lost", what);
    }
    let mut all = load.sent.lock().unwrap();
    if let Some(one) = all.iter_mut().find(|one| one.turn == sent.turn) {
        one.end = Some(end);
    }
    true
}

/// Nothing passes for a minute, while the owner goes on writing; then the sockets are gone and everything is to come back.
pub fn outage(stage: &Stage, load: &Load) {
    stage.verdict.note("an outage of a minute");
    for lane in &stage.lanes {
        lane.hold();
    }
    let began = Instant::now();
    let mut ended = began;
    ask_everybody(stage, load, "outage", || {
        std::thread::sleep(OUTAGE.saturating_sub(began.elapsed()));
        for lane in &stage.lanes {
            lane.cut();
            lane.release();
        }
        ended = Instant::now();
        stage.within(ANSWERS, "synced after the outage", || {
            let ps = stage.control.ps().unwrap_or_default();
            stage.lanes.iter().all(|lane| is_synced(&ps, &lane.url()))
        });
        stage.figures.took(Figure::OutageToSynced, ended.elapsed());
    });
    stage.figures.took(Figure::OutageToAnswer, ended.elapsed());
}

/// What a supervisor holds when all its children are stopped.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    pub descriptors: Vec<String>,
    pub memory: u64,
}

/// Waits until every child is stopped and every finish acknowledged.
pub fn calm(stage: &Stage) -> Holding {
    stage.set_idle(1_000);
    let reloaded = || matches!(stage.control.reload(), Some(Ok(_)));
    stage.within(CALM, "the last reload", reloaded);
    stage.within(
        CALM,
        "all children are stopped and the outbox is empty",
        || {
            let Some(ps) = stage.control.ps() else {
                return false;
            };
            let sessions = control::sessions(&ps);
            let away = sessions
                .iter()
                .all(|session| session["agent_pid"].is_null());
            away && ps["machine"]["outbox"] == 0
        },
    );
    let Some(pid) = stage.supervisor_pid() else {
        return Holding::default();
    };
    stage.within(Duration::from_secs(10), "no warden is left", || {
        processes::children(pid).is_empty()
    });
    // Connections to the assistants end a moment after them.
    let (mut least, until) = (usize::MAX, Instant::now() + Duration::from_secs(3));
    let mut descriptors = Vec::new();
    while Instant::now() < until {
        let now = processes::descriptors(pid);
        if now.len() < least {
            (least, descriptors) = (now.len(), now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Holding {
        descriptors,
        memory: processes::resident(pid).unwrap_or_default(),
    }
}

/// A supervisor that has just been started serves one message in each session, and then holds what it holds.
pub fn fresh(stage: &Stage, load: &Load) -> Holding {
    stage.set_idle(Stage::calm_idle_ms());
    stage.start_supervisor();
    stage.within(CALM, "a fresh supervisor is ready", || stage.is_ready());
    ask_everybody(stage, load, "fresh", || {});
    calm(stage)
}

/// The veteran holds no more than the fresh one.
pub fn compare(stage: &Stage, veteran: &Holding, fresh: &Holding) {
    if veteran.descriptors.len() > fresh.descriptors.len() + SPARE_DESCRIPTORS {
        let count = |holding: &Holding| {
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for kind in &holding.descriptors {
                *kinds.entry(kind.clone()).or_default() += 1;
            }
            kinds
        };
        let what = format!(
            "descriptors: {:?} and of a fresh one {:?}",
            count(veteran),
            count(fresh)
        );
        stage.verdict.wrong("leak", what);
    }
    if veteran.memory > fresh.memory + SPARE_MEMORY {
        let what = format!(
            "memory: {} bytes, and of a fresh one {}",
            veteran.memory, fresh.memory
        );
        stage.verdict.wrong("leak", what);
    }
}

/// SIGTERM, and the way it ends.
pub fn terminate(stage: &Stage) -> Duration {
    let began = Instant::now();
    stage.supervisor.lock().unwrap().signal(Signal::TERM);
    let mut status = None;
    stage.within(Duration::from_mins(1), "the supervisor has stopped", || {
        status = status.or_else(|| stage.supervisor.lock().unwrap().ended());
        status.is_some()
    });
    if let Some(status) = status.filter(|status| !status.success()) {
        let what = format!("the supervisor's stop ended with {status}");
        stage.verdict.wrong("ended", what);
    }
    began.elapsed()
}

/// As many of twenty OpenCodes as the machine brings up, all busy, stopped at once.
pub fn twenty(options: &Options) -> Arc<Stage> {
    let one = Options {
        workers: 5,
        ..*options
    };
    let stage = Arc::new(Stage::set(&one));
    stage.verdict.note("a stop with twenty busy sessions");
    stage.start_supervisor();
    stage.within(CALM, "five workers are ready", || stage.is_ready());
    let mut turns = Vec::new();
    for number in 0..20 {
        let name = format!("busy-{number}");
        let content = script(&json!([[
            { "text": format!("<<{name}>> begins. ") }, { "stream": { "n": 100_000, "rate": 5, "size": 8 } },
        ]]));
        let worker = &stage.workers[number % stage.workers.len()].id;
        let args = json!({ "id": name, "workerId": worker, "content": content });
        let sent = stage
            .owner
            .ask(&stage.server, "mutation", "messages:send", &args);
        let sent = sent.unwrap_or_default();
        let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
        turns.push((text("sessionId"), text("turnId")));
    }
    let until = Instant::now() + BOOTS;
    while asked(&stage.model) < turns.len() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let busy = asked(&stage.model);
    let below = stage.supervisor_pid().map(processes::descendants);
    let took = terminate(&stage);
    if busy == turns.len() {
        stage.figures.took(Figure::TwentyToExit, took);
        check_interrupted(&stage, &turns);
    } else {
        // A matter of the machine: no figure, but the promises hold all the same.
        let line = format!("only {busy} of twenty OpenCodes came up in time; stopped in {took:?}");
        stage.verdict.note(&line);
    }
    let left: Vec<u32> = below
        .unwrap_or_default()
        .into_iter()
        .filter(|pid| processes::is_alive(*pid))
        .collect();
    if !left.is_empty() {
        stage
            .verdict
            .wrong("orphan", format!("after the stop: {left:?}"));
    }
    stage
}

fn asked(model: &Model) -> usize {
    let stats = model.stats();
    stats["prompts"].as_array().map_or(0, Vec::len)
}

fn check_interrupted(stage: &Stage, turns: &[(String, String)]) {
    for (session, turn) in turns {
        let args = json!({ "sessionId": session });
        let list = stage
            .owner
            .ask(&stage.server, "query", "messages:list", &args)
            .unwrap_or_default();
        let rows = list["messages"].as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row["id"] == turn.as_str());
        let state = row.map(|row| row["state"].clone()).unwrap_or_default();
        if state != "interrupted" {
            stage.verdict.wrong(
                "lost",
                format!("{turn} was busy at the stop and is {state}"),
            );
        }
    }
}
