//! What the fake deployment stores, and the rules of its functions over the rows.

use std::collections::BTreeMap;

use orchestrator_actors::domain::item::Item;
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::ports::link::CallError;
use serde_json::{Value, json};

use crate::fold::{fold, text};

#[derive(Clone, Debug, Default)]
pub struct FakeTurn {
    pub id: String,
    pub session: String,
    pub state: String,
    pub abort: bool,
    pub items: Vec<Item>,
    pub claims: u32,
    pub claimed_boot: String,
    pub claimed_store: String,
    pub provisional: bool,
    pub ending: Option<Ending>,
}

impl FakeTurn {
    pub fn text(&self) -> String {
        text(&fold(&self.items))
    }
}

#[derive(Clone, Debug)]
pub struct FakeCommand {
    pub id: String,
    /// As it is handed out.
    pub what: Value,
    pub state: String,
    pub taken_by: Option<(String, u64)>,
    /// How often somebody was told to carry it out.
    pub handed_out: u32,
    pub result: String,
}

impl FakeCommand {
    pub fn new(id: &str, mut what: Value) -> Self {
        what["commandId"] = id.into();
        Self {
            id: id.to_owned(),
            what,
            state: "pending".to_owned(),
            taken_by: None,
            handed_out: 0,
            result: String::new(),
        }
    }

    pub fn is_for(&self, worker: &str) -> bool {
        let is_open = matches!(&*self.state, "pending" | "processing");
        is_open && self.taken_by.as_ref().is_none_or(|(by, _)| by == worker)
    }

    pub fn shown(&self) -> Value {
        json!({ "commandId": self.id, "state": self.state })
    }
}

/// The first who asks carries it out, however often that one asks; only that one ends it, and once.
pub fn acknowledge(
    rows: &mut Rows,
    worker: &str,
    epoch: u64,
    args: &Value,
) -> Result<Value, CallError> {
    let asker = (worker.to_owned(), epoch);
    let mut commands = rows.commands.iter_mut();
    let command = commands.find(|command| command.id == args["commandId"]);
    let command = command.ok_or_else(|| refused("not_found"))?;
    let state = args["state"].as_str().unwrap_or_default();
    let is_its = command.taken_by.as_ref() == Some(&asker);
    if state == "processing" && command.state == "pending" {
        command.state = "processing".to_owned();
        command.taken_by = Some(asker);
    } else if command.state != "processing" || !is_its {
        return Ok(json!({ "status": "passed", "state": command.state }));
    }
    if state == "processing" {
        command.handed_out += 1;
        return Ok(json!({ "status": "taken", "command": command.what }));
    }
    command.state = state.to_owned();
    let result = args["result"]
        .as_str()
        .or(args["error"]["message"].as_str());
    command.result = result.unwrap_or_default().to_owned();
    Ok(json!({ "status": "closed" }))
}

#[derive(Clone, Debug, Default)]
pub struct FakeTask {
    pub id: String,
    pub text: String,
    pub state: String,
    pub attempt: u32,
    pub lease: String,
    /// How often it was handed out under a lease of its own.
    pub pulls: u32,
}

impl FakeTask {
    pub fn is_open(&self) -> bool {
        matches!(&*self.state, "queued" | "running")
    }

    fn handed(&self) -> Value {
        json!({
            "status": "task", "taskId": self.id, "text": self.text, "attempt": f64::from(self.attempt),
            "leaseId": self.lease, "leaseMs": 300_000.0, "canceled": false,
        })
    }
}

/// There is one installation, so what somebody else has in hand is a dead supervisor's.
pub fn pull_task(rows: &mut Rows, args: &Value) -> Value {
    let lease = args["leaseId"].as_str().unwrap_or_default();
    let running = rows.tasks.iter_mut().find(|task| task.state == "running");
    if let Some(task) = running {
        if task.lease == lease || args["known"] == task.lease.as_str() {
            return task.handed();
        }
        if args["known"].is_null() {
            task.state = "queued".to_owned();
            task.attempt -= 1;
        }
    }
    if !args["known"].is_null() {
        return json!({ "status": "lost" });
    }
    let next = rows.tasks.iter_mut().find(|task| task.state == "queued");
    let Some(task) = next else {
        return json!({ "status": "none" });
    };
    task.state = "running".to_owned();
    task.attempt += 1;
    task.pulls += 1;
    lease.clone_into(&mut task.lease);
    task.handed()
}

pub fn acknowledge_task(rows: &mut Rows, args: &Value) -> Value {
    let task = rows.tasks.iter_mut().find(|task| task.id == args["taskId"]);
    let Some(task) = task else {
        return json!({ "status": "lost", "state": null });
    };
    if task.state != "running" || args["leaseId"] != task.lease.as_str() {
        return json!({ "status": "lost", "state": task.state });
    }
    let result = &args["result"];
    let state = match result["status"].as_str() {
        Some("done") => "done",
        Some("returned") => {
            task.attempt -= 1;
            "queued"
        }
        _ if result["retry"] == true && task.attempt < 3 => "queued",
        _ => "failed",
    };
    task.state = state.to_owned();
    json!({ "status": "ok", "state": state })
}

#[derive(Default)]
pub struct WorkerRow {
    pub epoch: u64,
    pub start: String,
    pub boot: String,
    pub store: String,
    /// Another install has the token.
    pub taken: bool,
}

#[derive(Default)]
pub struct Rows {
    pub failing_reports: u32,
    pub turns: Vec<FakeTurn>,
    pub conversations: BTreeMap<String, String>,
    pub status: BTreeMap<String, String>,
    pub ended: Vec<String>,
    pub workers: BTreeMap<String, WorkerRow>,
    pub take_overs: Vec<bool>,
    pub disconnects: u32,
    /// So many of the next finishes fail for reasons of the deployment's own.
    pub failing_finishes: u32,
    /// Of a session: another conversation is confirmed before this supervisor's is.
    pub confirmed_meanwhile: BTreeMap<String, String>,
    pub commands: Vec<FakeCommand>,
    pub tasks: Vec<FakeTask>,
    /// Of each part, the states that were reported.
    pub runs: BTreeMap<String, Vec<String>>,
    /// The owner took the right of every worker away.
    pub revoked: bool,
    /// The owner removed the workers, for good.
    pub removed: bool,
    pub violations: Vec<String>,
}

/// An item that this deployment never takes.
pub const POISON: &str = "poison";

pub fn worker_in(args: &Value) -> String {
    let token = args["token"].as_str().unwrap_or_default();
    let worker = token.split(':').nth(1).unwrap_or_default();
    worker.trim_start_matches("worker_").to_owned()
}

pub fn turn_of<'r>(rows: &'r mut Rows, id: &str) -> &'r mut FakeTurn {
    let mut turns = rows.turns.iter_mut();
    turns.find(|turn| turn.id == id).expect("a turn")
}

fn refused(code: &str) -> CallError {
    CallError::Refused {
        code: code.to_owned(),
        message: code.to_owned(),
    }
}

pub fn check(rows: &mut Rows, worker: &str, epoch: u64) -> Result<(), CallError> {
    if rows.removed {
        return Err(refused("removed"));
    }
    let present = rows.workers.entry(worker.to_owned()).or_default().epoch;
    if present == epoch {
        Ok(())
    } else {
        Err(refused("displaced"))
    }
}

pub fn connect(rows: &mut Rows, worker: &str, args: &Value) -> Result<Value, CallError> {
    rows.take_overs.push(args["takeOver"] == true);
    if rows.removed {
        return Err(refused("removed"));
    }
    let row = rows.workers.entry(worker.to_owned()).or_default();
    args["storeId"]
        .as_str()
        .unwrap_or_default()
        .clone_into(&mut row.store);
    if row.taken {
        return Err(refused("held"));
    }
    let start = args["startId"].as_str().unwrap_or_default();
    if row.start != start {
        row.epoch += 1;
        start.clone_into(&mut row.start);
        row.boot = args["bootId"].as_str().unwrap_or_default().to_owned();
    }
    let epoch = row.epoch;
    let left_behind = |by: &(String, u64)| by.0 == worker && by.1 != epoch;
    for command in &mut rows.commands {
        if command.state == "processing" && command.taken_by.as_ref().is_some_and(left_behind) {
            command.state = "failed".to_owned();
            command.result = "the supervisor ended".to_owned();
        }
    }
    Ok(json!({ "status": "approved", "epoch": epoch as f64, "name": worker, "workerId": worker }))
}

pub fn claim(rows: &mut Rows, worker: &str, id: &str) -> Value {
    let boot = rows.workers[worker].boot.clone();
    let store = rows.workers[worker].store.clone();
    let session = turn_of(rows, id).session.clone();
    let mut of_session = rows.turns.iter().filter(|turn| turn.session == session);
    let oldest = of_session.clone().find(|turn| turn.ending.is_none());
    if of_session.any(|turn| turn.id == id && turn.ending.is_some()) {
        return json!({ "status": "closed", "state": "complete" });
    }
    if oldest.is_none_or(|turn| turn.id != id) {
        return json!({ "status": "not_next" });
    }
    let unsettled: Vec<_> = rows
        .turns
        .iter()
        .filter(|turn| turn.session == session && turn.provisional)
        .map(|turn| json!({ "turnId": turn.id, "nextIndex": turn.items.len() as f64 }))
        .collect();
    let conversation = rows.conversations.get(&session).cloned();
    let turn = turn_of(rows, id);
    if turn.state == "queued" {
        turn.state = "claimed".to_owned();
        turn.claimed_boot = boot;
        turn.claimed_store = store;
    }
    turn.claims += 1;
    json!({
        "status": "claimed", "sessionId": session, "content": turn.id, "model": null, "title": "t",
        "agentSessionId": conversation, "abort": turn.abort, "nextIndex": turn.items.len() as f64,
        "first": turn.claims == 1, "claimedBootId": turn.claimed_boot, "unsettled": unsettled,
    })
}

/// Each index once, in order, without gaps.
pub fn store(turn: &mut FakeTurn, items: &[Item]) -> Option<String> {
    for item in items {
        let next = turn.items.len() as u64;
        match item.index.cmp(&next) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => turn.items.push(item.clone()),
            std::cmp::Ordering::Greater => {
                return Some(format!("{}: a gap from {next} to {}", turn.id, item.index));
            }
        }
    }
    None
}

pub fn continue_turn(rows: &mut Rows, id: &str) {
    let at = rows.turns.iter().position(|turn| turn.id == id);
    let at = at.expect("a turn");
    let turn = FakeTurn {
        id: format!("{id}.continued"),
        session: rows.turns[at].session.clone(),
        state: "queued".to_owned(),
        ..FakeTurn::default()
    };
    rows.turns.insert(at + 1, turn);
}
