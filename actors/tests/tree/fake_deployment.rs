//! A deployment in memory: the functions that a worker calls, with the rules that matter here (one supervisor per
//! epoch, oldest open turn first, chunks without gaps, first finish wins, provisional ends replaced). It outlives every
//! supervisor. What breaks its rules is a violation, and fails the test.

use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::item::Item;
use orchestrator_actors::domain::stream::{AppendResult, AppendStatus, Batch, Right};
use orchestrator_actors::domain::turn::{Ending, Outcome, Then};
use orchestrator_actors::ports::link::{CallError, Finished};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::rows::{
    FakeCommand, FakeTask, FakeTurn, POISON, Rows, acknowledge, acknowledge_task, check, claim,
    connect, continue_turn, pull_task, store, turn_of, worker_in,
};

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

    /// So many of the next finishes fail for reasons of the deployment's own.
    pub fn fail_finishes(&self, times: u32) {
        self.write(|rows| rows.failing_finishes = times);
    }

    /// Another conversation is confirmed before this supervisor's is.
    pub fn confirm_meanwhile(&self, session: &str, conversation: &str) {
        let (session, conversation) = (session.to_owned(), conversation.to_owned());
        self.write(|rows| rows.confirmed_meanwhile.insert(session, conversation));
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

    /// An owner asks for something.
    pub fn ask(&self, id: &str, what: &Value) {
        self.write(|rows| rows.commands.push(FakeCommand::new(id, what.clone())));
    }

    pub fn command(&self, id: &str) -> FakeCommand {
        let rows = self.rows.lock().unwrap();
        let mut commands = rows.commands.iter();
        let command = commands.find(|command| command.id == id);
        command.cloned().expect("a command")
    }

    /// Whatever the last word was: a row that says that it is still under way.
    pub fn reopen(&self, id: &str) {
        self.write(|rows| {
            let mut commands = rows.commands.iter_mut();
            let command = commands.find(|command| command.id == id);
            command.expect("a command").state = "processing".to_owned();
        });
    }

    /// The states that were reported of a part, in their order.
    pub fn runs(&self, part: &str) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.runs.get(part).cloned().unwrap_or_default()
    }

    /// So many reports of roles come to nothing.
    pub fn fail_reports(&self, times: u32) {
        self.write(|rows| rows.failing_reports = times);
    }

    pub fn add_task(&self, id: &str, text: &str) {
        self.write(|rows| {
            rows.tasks.push(FakeTask {
                id: id.to_owned(),
                text: text.to_owned(),
                state: "queued".to_owned(),
                ..FakeTask::default()
            });
        });
    }

    pub fn drop_task(&self, id: &str) {
        self.write(|rows| rows.tasks.retain(|task| task.id != id));
    }

    pub fn task(&self, id: &str) -> FakeTask {
        let rows = self.rows.lock().unwrap();
        let task = rows.tasks.iter().find(|task| task.id == id);
        task.cloned().expect("a task")
    }

    pub async fn task_ends(&self, id: &str, state: &str) {
        self.until(&format!("{id} is {state}"), |d| d.task(id).state == state)
            .await;
    }

    pub fn set_revoked(&self, revoked: bool) {
        self.write(|rows| rows.revoked = revoked);
    }

    pub fn remove_workers(&self) {
        self.write(|rows| rows.removed = true);
    }

    pub async fn answered(&self, id: &str) -> FakeCommand {
        let has_ended = |command: &FakeCommand| matches!(&*command.state, "completed" | "failed");
        self.until(&format!("{id} is answered"), |d| has_ended(&d.command(id)))
            .await;
        self.command(id)
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
        if rows.revoked && args["epoch"].as_f64() == Some(epoch as f64) {
            return json!({ "state": "revoked", "displaced": false, "turns": nothing, "sessions": nothing, "commands": nothing });
        }
        if args["epoch"].as_f64() != Some(epoch as f64) {
            return json!({ "state": "approved", "displaced": true, "turns": nothing, "sessions": nothing, "commands": nothing });
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
        let commands = rows
            .commands
            .iter()
            .filter(|command| command.is_for(&worker));
        let commands: Vec<_> = commands.map(FakeCommand::shown).collect();
        let tasks = worker == "w" && rows.tasks.iter().any(FakeTask::is_open);
        json!({ "state": "approved", "displaced": false, "turns": turns, "sessions": sessions, "commands": commands, "tasks": tasks })
    }

    pub fn call(&self, function: &str, args: &Value) -> Result<Value, CallError> {
        let text = |key: &str| args[key].as_str().unwrap_or_default().to_owned();
        let worker = worker_in(args);
        if function == "workers:connect" {
            return self.write(|rows| connect(rows, &worker, args));
        }
        if function == "agentConfigs:update" {
            let part = format!("{}/{}", text("room"), text("role"));
            let state = args["run"]["state"].as_str().unwrap_or_default();
            return self.write(|rows| {
                if rows.failing_reports > 0 {
                    rows.failing_reports -= 1;
                    return Err(CallError::Server("out of order".to_owned()));
                }
                rows.runs.entry(part).or_default().push(state.to_owned());
                Ok(Value::Null)
            });
        }
        if function == "agentConfigs:endRunning" {
            return self.write(|rows| {
                for said in rows.runs.values_mut() {
                    if said.last().is_some_and(|state| state == "running") {
                        said.push("ended".to_owned());
                    }
                }
                Ok(Value::Null)
            });
        }
        let epoch = args["epoch"].as_f64().unwrap_or_default() as u64;
        self.write(|rows| check(rows, &worker, epoch))?;
        match function {
            "messages:claim" => Ok(self.write(|rows| claim(rows, &worker, &text("turnId")))),
            "sessions:confirm" => self.write(|rows| {
                let session = text("sessionId");
                if let Some(other) = rows.confirmed_meanwhile.remove(&session) {
                    rows.conversations.insert(session, other);
                }
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
            "permissions:ask" => Ok(json!({ "state": "open" })),
            "permissions:take" | "permissions:withdraw" => Ok(json!({ "state": "withdrawn" })),
            "commands:ack" => self.write(|rows| acknowledge(rows, &worker, epoch, args)),
            "tasks:pull" => Ok(self.write(|rows| pull_task(rows, args))),
            "tasks:acknowledge" => Ok(self.write(|rows| acknowledge_task(rows, args))),
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
            if rows.failing_finishes > 0 {
                rows.failing_finishes -= 1;
                return Err(CallError::Server("not today".to_owned()));
            }
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
