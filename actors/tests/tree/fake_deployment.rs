//! A deployment in memory behind the `Link` port: the functions that a worker calls, with the rules that matter
//! here (oldest open turn first, first finish wins).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::Draft;
use orchestrator_actors::domain::turn::{Ending, Outcome};
use orchestrator_actors::machine::Links;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::link::{
    CallError, Credential, Finished, Link, LinkDown, LinkPhase, LinkStatus, StreamError,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

#[derive(Clone, Debug)]
pub struct FakeTurn {
    pub id: String,
    pub session: String,
    pub state: String,
    pub abort: bool,
    pub text: String,
    pub claims: u32,
    pub ending: Option<Ending>,
}

#[derive(Default)]
struct Rows {
    turns: Vec<FakeTurn>,
    conversations: BTreeMap<String, String>,
    status: BTreeMap<String, String>,
    displaced: bool,
    /// Another install has the token.
    taken: bool,
    drives: u32,
    flushes: u32,
    take_overs: Vec<bool>,
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
                abort: false,
                text: String::new(),
                claims: 0,
                ending: None,
            });
        });
    }

    pub fn displace(&self) {
        self.write(|rows| {
            rows.displaced = true;
            rows.taken = true;
        });
    }

    /// The owner revoked and approved while nobody looked: only the epoch shows it.
    pub fn raise_epoch(&self) {
        self.write(|rows| rows.displaced = true);
    }

    pub fn turn(&self, id: &str) -> FakeTurn {
        let rows = self.rows.lock().unwrap();
        rows.turns
            .iter()
            .find(|turn| turn.id == id)
            .cloned()
            .expect("a turn")
    }

    pub fn status(&self, session: &str) -> Option<String> {
        self.rows.lock().unwrap().status.get(session).cloned()
    }

    pub fn drives(&self) -> u32 {
        self.rows.lock().unwrap().drives
    }

    /// Of each connect, whether it would take the token from somebody else.
    pub fn take_overs(&self) -> Vec<bool> {
        self.rows.lock().unwrap().take_overs.clone()
    }

    pub fn flushes(&self) -> u32 {
        self.rows.lock().unwrap().flushes
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !holds(self) {
                changed.changed().await.expect("the deployment lives");
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(10), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub async fn ended(&self, turn: &str) -> (Outcome, String) {
        self.until(&format!("{turn} ends"), |d| d.turn(turn).ending.is_some())
            .await;
        let turn = self.turn(turn);
        (turn.ending.expect("an ending").outcome, turn.text)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Rows) -> T) -> T {
        let result = change(&mut self.rows.lock().unwrap());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    /// All turns belong to worker `w`.
    fn inbox(&self, args: &Value) -> Value {
        let rows = self.rows.lock().unwrap();
        let mut seen = Vec::new();
        let mut turns = Vec::new();
        let is_w = args["token"]
            .as_str()
            .is_some_and(|token| token.contains(":worker_w:"));
        for turn in rows
            .turns
            .iter()
            .filter(|turn| is_w && turn.ending.is_none())
        {
            if !seen.contains(&turn.session) {
                seen.push(turn.session.clone());
                turns.push(json!({ "turnId": turn.id, "sessionId": turn.session, "state": turn.state, "abort": turn.abort }));
            }
        }
        json!({ "state": "approved", "displaced": rows.displaced, "turns": turns, "sessions": [], "commands": [] })
    }

    fn call(&self, function: &str, args: &Value) -> Result<Value, CallError> {
        let text = |key: &str| args[key].as_str().unwrap_or_default().to_owned();
        match function {
            "workers:connect" => self.write(|rows| {
                rows.take_overs.push(args["takeOver"] == true);
                if rows.taken {
                    return Err(CallError::Refused {
                        code: "held".to_owned(),
                        message: "held".to_owned(),
                    });
                }
                rows.displaced = false;
                Ok(json!({ "status": "approved", "epoch": 1.0, "name": "w", "workerId": "w" }))
            }),
            "messages:claim" => self.write(|rows| {
                let id = text("turnId");
                let turn = rows.turns.iter_mut().find(|turn| turn.id == id).expect("a turn");
                if turn.ending.is_some() {
                    return Ok(json!({ "status": "closed", "state": "complete" }));
                }
                turn.state = "claimed".to_owned();
                turn.claims += 1;
                let conversation = rows.conversations.get(&turn.session);
                Ok(json!({
                    "status": "claimed", "sessionId": turn.session, "content": turn.id, "model": null, "title": "t",
                    "agentSessionId": conversation, "abort": turn.abort, "nextIndex": turn.text.len() as f64,
                    "first": turn.claims == 1, "claimedBootId": "boot",
                }))
            }),
            "sessions:confirm" => self.write(|rows| {
                let stored = rows.conversations.entry(text("sessionId")).or_insert_with(|| text("agentSessionId"));
                Ok(json!({ "agentSessionId": stored }))
            }),
            "sessions:setStatus" => self.write(|rows| {
                rows.status.insert(text("sessionId"), text("status"));
                Ok(Value::Null)
            }),
            _ => Ok(Value::Null),
        }
    }
}

impl Links for FakeDeployment {
    fn link(&self, _: &DeploymentUrl) -> Arc<dyn Link> {
        Arc::new(self.clone())
    }
}

impl Link for FakeDeployment {
    fn mutate(&self, function: &'static str, args: Value) -> Pending<Result<Value, CallError>> {
        let answer = self.call(function, &args);
        Box::pin(async move { answer })
    }

    fn watch(&self, _: &'static str, args: Value, to: mpsc::Sender<Result<Value, CallError>>) {
        let this = self.clone();
        let mut changed = self.changed.subscribe();
        tokio::spawn(async move {
            let mut last = Value::Null;
            loop {
                let value = this.inbox(&args);
                if value != last {
                    last = value.clone();
                    if to.send(Ok(value)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = to.closed() => return,
                    changed = changed.changed() => if changed.is_err() { return },
                }
            }
        });
    }

    fn open_stream(&self, _: TurnId, _: Credential, _: u64) {}

    fn push(&self, id: &TurnId, drafts: Vec<Draft>) -> Result<(), StreamError> {
        self.write(|rows| {
            let turn = rows
                .turns
                .iter_mut()
                .find(|turn| turn.id == id.as_str())
                .ok_or(StreamError::Unknown)?;
            for draft in drafts {
                if draft.kind == orchestrator_actors::domain::item::ItemKind::Reset {
                    turn.text.clear();
                }
                turn.text.push_str(&draft.content);
            }
            Ok(())
        })
    }

    fn finish(
        &self,
        id: TurnId,
        _: Credential,
        ending: Ending,
    ) -> Pending<Result<Finished, CallError>> {
        let finished = self.write(|rows| {
            let turn = rows
                .turns
                .iter_mut()
                .find(|turn| turn.id == id.as_str())
                .expect("a turn");
            if turn.ending.is_some() {
                return Finished::Already;
            }
            turn.ending = Some(ending);
            Finished::Closed
        });
        Box::pin(async move { Ok(finished) })
    }

    fn replay(&self, _: Credential) -> Pending<Result<usize, CallError>> {
        Box::pin(async { Ok(0) })
    }

    fn drive(&self) -> Pending<LinkDown> {
        self.write(|rows| rows.drives += 1);
        Box::pin(std::future::pending())
    }

    fn status(&self) -> LinkStatus {
        LinkStatus {
            phase: LinkPhase::Synced,
            ..LinkStatus::default()
        }
    }

    fn flush(&self, _: u64) -> Pending<bool> {
        self.write(|rows| rows.flushes += 1);
        Box::pin(async { true })
    }
}
