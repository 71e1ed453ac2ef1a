//! A deployment in memory: the functions that a worker calls, with the rules that matter here (one supervisor per
//! epoch, oldest open turn first, chunks without gaps, first finish wins, provisional ends replaced). It outlives every
//! supervisor. What breaks its rules is a violation, and fails the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::item::Item;
use orchestrator_actors::domain::stream::{AppendResult, AppendStatus, Batch, Right};
use orchestrator_actors::domain::turn::{Ending, Outcome, Then};
use orchestrator_actors::ports::link::{CallError, Finished};
use serde_json::{Value, json};
use tokio::sync::watch;

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
    pub provisional: bool,
    pub ending: Option<Ending>,
}

impl FakeTurn {
    pub fn text(&self) -> String {
        text(&fold(&self.items))
    }
}

#[derive(Default)]
struct WorkerRow {
    epoch: u64,
    start: String,
    boot: String,
    /// Another install has the token.
    taken: bool,
}

#[derive(Default)]
struct Rows {
    turns: Vec<FakeTurn>,
    conversations: BTreeMap<String, String>,
    status: BTreeMap<String, String>,
    ended: Vec<String>,
    workers: BTreeMap<String, WorkerRow>,
    take_overs: Vec<bool>,
    disconnects: u32,
    violations: Vec<String>,
}

#[derive(Clone)]
pub struct FakeDeployment {
    rows: Arc<Mutex<Rows>>,
    changed: Arc<watch::Sender<u64>>,
}

impl FakeDeployment {
    pub fn new() -> Self {
        Self {
            rows: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
        }
    }

    pub fn send(&self, session: &str, turn: &str) {
        self.write(|rows| {
            rows.turns.push(FakeTurn {
                id: turn.to_owned(),
                session: session.to_owned(),
                state: "queued".to_owned(),
                ..FakeTurn::default()
            });
        });
    }

    pub fn abort(&self, id: &str) {
        self.write(|rows| {
            let turn = turn_of(rows, id);
            if turn.state == "queued" {
                turn.state = "closed".to_owned();
                turn.ending = Some(Ending::because(Outcome::Aborted, "aborted", "withdrawn"));
            }
            turn.abort = true;
        });
    }

    /// The owner ends a session.
    pub fn end(&self, session: &str) {
        self.write(|rows| rows.ended.push(session.to_owned()));
    }

    pub fn displace(&self) {
        self.write(|rows| {
            let worker = rows.workers.entry("w".to_owned()).or_default();
            worker.epoch += 1;
            worker.taken = true;
        });
    }

    /// The owner revoked and approved while nobody looked: only the epoch shows it.
    pub fn raise_epoch(&self) {
        self.write(|rows| rows.workers.entry("w".to_owned()).or_default().epoch += 1);
    }

    pub fn turn(&self, id: &str) -> FakeTurn {
        turn_of(&mut self.rows.lock().unwrap(), id).clone()
    }

    pub fn turns(&self) -> Vec<FakeTurn> {
        self.rows.lock().unwrap().turns.clone()
    }

    pub fn status(&self, session: &str) -> Option<String> {
        self.rows.lock().unwrap().status.get(session).cloned()
    }

    /// Of each connect, whether it would take the token from somebody else.
    pub fn take_overs(&self) -> Vec<bool> {
        self.rows.lock().unwrap().take_overs.clone()
    }

    pub fn disconnects(&self) -> u32 {
        self.rows.lock().unwrap().disconnects
    }

    pub fn violations(&self) -> Vec<String> {
        self.rows.lock().unwrap().violations.clone()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changes();
        let wait = async {
            while !holds(self) {
                changed.changed().await.expect("the deployment lives");
            }
        };
        tokio::time::timeout(std::time::Duration::from_hours(2), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}; {:#?}", self.turns()));
    }

    pub async fn ended(&self, turn: &str) -> (Outcome, String) {
        self.until(&format!("{turn} ends"), |d| d.turn(turn).ending.is_some())
            .await;
        let turn = self.turn(turn);
        let text = turn.text();
        (turn.ending.expect("an ending").outcome, text)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> T {
        let result = change(&mut self.rows.lock().unwrap());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// All turns belong to worker `w`.
    pub fn inbox(&self, args: &Value) -> Value {
        let rows = self.rows.lock().unwrap();
        let worker = worker_in(args);
        let epoch = rows.workers.get(&worker).map_or(0, |row| row.epoch);
        let nothing = json!([]);
        if args["epoch"].as_f64() != Some(epoch as f64) {
            return json!({ "state": "approved", "displaced": true, "turns": nothing, "sessions": nothing });
        }
        let mut seen = Vec::new();
        let mut turns = Vec::new();
        for turn in rows
            .turns
            .iter()
            .filter(|turn| worker == "w" && turn.ending.is_none())
        {
            if !seen.contains(&turn.session) {
                seen.push(turn.session.clone());
                turns.push(json!({ "turnId": turn.id, "sessionId": turn.session, "state": turn.state, "abort": turn.abort }));
            }
        }
        let over = rows.ended.iter().filter(|id| {
            worker == "w" && rows.status.get(*id).is_none_or(|status| status != "ended")
        });
        let sessions: Vec<_> = over
            .map(|id| json!({ "sessionId": id, "status": "ended" }))
            .collect();
        json!({ "state": "approved", "displaced": false, "turns": turns, "sessions": sessions })
    }

    pub fn call(&self, function: &str, args: &Value) -> Result<Value, CallError> {
        let text = |key: &str| args[key].as_str().unwrap_or_default().to_owned();
        let worker = worker_in(args);
        if function == "workers:connect" {
            return self.write(|rows| connect(rows, &worker, args));
        }
        let epoch = args["epoch"].as_f64().unwrap_or_default() as u64;
        self.write(|rows| check(rows, &worker, epoch))?;
        match function {
            "messages:claim" => self.write(|rows| claim(rows, &worker, &text("turnId"))),
            "sessions:confirm" => self.write(|rows| {
                let stored = rows
                    .conversations
                    .entry(text("sessionId"))
                    .or_insert_with(|| text("agentSessionId"));
                Ok(json!({ "agentSessionId": stored }))
            }),
            "sessions:setStatus" => self.write(|rows| {
                rows.status.insert(text("sessionId"), text("status"));
                Ok(Value::Null)
            }),
            "workers:disconnect" => self.write(|rows| {
                rows.disconnects += 1;
                Ok(Value::Null)
            }),
            _ => Ok(Value::Null),
        }
    }

    pub fn append(&self, batches: &[Batch]) -> Vec<AppendResult> {
        let one = |rows: &mut Rows, batch: &Batch| {
            let worker = batch.right.token.worker().as_str();
            let (status, next) = if check(rows, worker, batch.right.epoch).is_err() {
                (AppendStatus::Displaced, 0)
            } else {
                let turn = turn_of(rows, batch.turn.as_str());
                if turn.ending.is_some() && !turn.provisional {
                    (AppendStatus::Closed, turn.items.len() as u64)
                } else {
                    let is_poisoned = batch.items.iter().any(|item| item.content == POISON);
                    let fault = if is_poisoned {
                        None
                    } else {
                        store(turn, &batch.items)
                    };
                    let next = turn.items.len() as u64;
                    let is_ok = fault.is_none() && !is_poisoned;
                    rows.violations.extend(fault);
                    let status = if is_ok {
                        AppendStatus::Ok
                    } else {
                        AppendStatus::Invalid
                    };
                    (status, next)
                }
            };
            AppendResult {
                turn: batch.turn.clone(),
                status,
                next_index: next,
                message: None,
            }
        };
        self.write(|rows| batches.iter().map(|batch| one(rows, batch)).collect())
    }

    pub fn finish(
        &self,
        right: &Right,
        id: &str,
        ending: Ending,
        items: &[Item],
    ) -> Result<Finished, CallError> {
        self.write(|rows| {
            check(rows, right.token.worker().as_str(), right.epoch)?;
            let turn = turn_of(rows, id);
            let was_open = turn.ending.is_none();
            let is_provisional = ending.then == Some(Then::Provisional);
            if !was_open && (is_provisional || !turn.provisional) {
                return Ok(Finished::Already);
            }
            let fault = store(turn, items);
            let goes_on = ending.then == Some(Then::Continue)
                && was_open
                && !turn.abort
                && !turn.id.ends_with(".continued");
            turn.provisional = is_provisional && turn.state == "claimed";
            turn.ending = Some(ending);
            if goes_on {
                continue_turn(rows, id);
            }
            rows.violations.extend(fault);
            Ok(Finished::Closed)
        })
    }
}

/// An item that this deployment never takes.
pub const POISON: &str = "poison";

fn worker_in(args: &Value) -> String {
    let token = args["token"].as_str().unwrap_or_default();
    let worker = token.split(':').nth(1).unwrap_or_default();
    worker.trim_start_matches("worker_").to_owned()
}

fn turn_of<'r>(rows: &'r mut Rows, id: &str) -> &'r mut FakeTurn {
    let mut turns = rows.turns.iter_mut();
    turns.find(|turn| turn.id == id).expect("a turn")
}

fn refused(code: &str) -> CallError {
    CallError::Refused {
        code: code.to_owned(),
        message: code.to_owned(),
    }
}

fn check(rows: &mut Rows, worker: &str, epoch: u64) -> Result<(), CallError> {
    let present = rows.workers.entry(worker.to_owned()).or_default().epoch;
    if present == epoch {
        Ok(())
    } else {
        Err(refused("displaced"))
    }
}

fn connect(rows: &mut Rows, worker: &str, args: &Value) -> Result<Value, CallError> {
    rows.take_overs.push(args["takeOver"] == true);
    let row = rows.workers.entry(worker.to_owned()).or_default();
    if row.taken {
        return Err(refused("held"));
    }
    let start = args["startId"].as_str().unwrap_or_default();
    if row.start != start {
        row.epoch += 1;
        start.clone_into(&mut row.start);
        row.boot = args["bootId"].as_str().unwrap_or_default().to_owned();
    }
    Ok(
        json!({ "status": "approved", "epoch": row.epoch as f64, "name": worker, "workerId": worker }),
    )
}

fn claim(rows: &mut Rows, worker: &str, id: &str) -> Result<Value, CallError> {
    let boot = rows.workers[worker].boot.clone();
    let session = turn_of(rows, id).session.clone();
    let mut of_session = rows.turns.iter().filter(|turn| turn.session == session);
    let oldest = of_session.clone().find(|turn| turn.ending.is_none());
    if of_session.any(|turn| turn.id == id && turn.ending.is_some()) {
        return Ok(json!({ "status": "closed", "state": "complete" }));
    }
    if oldest.is_none_or(|turn| turn.id != id) {
        return Ok(json!({ "status": "not_next" }));
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
    }
    turn.claims += 1;
    Ok(json!({
        "status": "claimed", "sessionId": session, "content": turn.id, "model": null, "title": "t",
        "agentSessionId": conversation, "abort": turn.abort, "nextIndex": turn.items.len() as f64,
        "first": turn.claims == 1, "claimedBootId": turn.claimed_boot, "unsettled": unsettled,
    }))
}

/// Each index once, in order, without gaps.
fn store(turn: &mut FakeTurn, items: &[Item]) -> Option<String> {
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

fn continue_turn(rows: &mut Rows, id: &str) {
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
