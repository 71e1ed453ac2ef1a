//! The owner at work: in every session a message follows the other, two or three at a time, each under an id of its own that
//! is sent again until it is accepted. Every turn is followed to its end, and what it left is looked at there and then,
//! while its chunks are still stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::account;
use crate::figures::Figure;
use crate::prompts::{self, Prompt};
use crate::stage::Stage;

const LOOK: Duration = Duration::from_millis(250);
/// A closed turn is folded within this.
const FOLDING: Duration = Duration::from_mins(1);

/// A message that the deployment accepted.
#[derive(Clone, Debug)]
pub struct Sent {
    pub name: String,
    pub session: String,
    pub turn: String,
    pub prompt: Prompt,
    pub accepted: Instant,
    pub end: Option<End>,
}

/// How its turn ended, as it was first seen.
#[derive(Clone, Debug)]
pub struct End {
    pub state: String,
    pub code: String,
    pub message: String,
    /// Not folded in its time: the close is provisional, and the answer from the assistant's store may replace it.
    pub provisional: bool,
}

#[derive(Default)]
pub struct Load {
    pub sent: Mutex<Vec<Sent>>,
    /// No more messages.
    pub resting: AtomicBool,
    /// Nothing is waited for any more.
    pub over: AtomicBool,
    drivers: Mutex<Vec<JoinHandle<()>>>,
}

impl Load {
    pub fn start(stage: &Arc<Stage>, seed: u64, sessions: usize) -> Arc<Self> {
        let load = Arc::new(Self::default());
        let mut drivers = load.drivers.lock().unwrap();
        for (at, worker) in stage.workers.iter().enumerate() {
            for session in 0..sessions {
                let number = (at * sessions + session) as u64;
                let driver = Driver {
                    stage: Arc::clone(stage),
                    load: Arc::clone(&load),
                    chance: StdRng::seed_from_u64(seed ^ (number + 1).wrapping_mul(0x9e37_79b9)),
                    worker: worker.id.clone(),
                    name: format!("s{seed}-{at}-{session}"),
                    session: None,
                    open: Vec::new(),
                    count: 0,
                };
                drivers.push(std::thread::spawn(move || driver.drive()));
            }
        }
        drop(drivers);
        load
    }

    pub fn open(&self) -> Vec<Sent> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .filter(|one| one.end.is_none())
            .cloned()
            .collect()
    }

    pub fn closed(&self) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|one| one.end.is_some()).count()
    }

    /// Sends nothing more and waits for what is open. `false` when something stayed open.
    pub fn rest(&self, stage: &Stage, limit: Duration) -> bool {
        self.resting.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + limit;
        loop {
            let running = self.drivers.lock().unwrap();
            if running.iter().all(JoinHandle::is_finished) || Instant::now() > deadline {
                break;
            }
            drop(running);
            std::thread::sleep(LOOK);
        }
        self.over.store(true, Ordering::SeqCst);
        for driver in self.drivers.lock().unwrap().drain(..) {
            if driver.join().is_err() {
                stage
                    .verdict
                    .wrong("ended", "a driver of the load panicked".to_owned());
            }
        }
        self.open().is_empty()
    }

    fn change(&self, turn: &str, change: impl FnOnce(&mut Sent)) {
        let mut sent = self.sent.lock().unwrap();
        if let Some(one) = sent.iter_mut().find(|one| one.turn == turn) {
            change(one);
        }
    }
}

struct Driver {
    stage: Arc<Stage>,
    load: Arc<Load>,
    chance: StdRng,
    worker: String,
    name: String,
    session: Option<String>,
    /// Turns that are not closed and looked at.
    open: Vec<Sent>,
    count: u32,
}

impl Driver {
    fn drive(mut self) {
        let mut depth = 2;
        while !self.load.over.load(Ordering::SeqCst) {
            if self.load.resting.load(Ordering::SeqCst) {
                if self.open.is_empty() {
                    return;
                }
            } else if self.open.len() < depth {
                self.send();
                depth = self.chance.random_range(1..=3);
            }
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    fn send(&mut self) {
        self.count += 1;
        let name = format!("{}-{}", self.name, self.count);
        let prompt = prompts::draw(&name, &mut self.chance);
        let mut args = json!({ "id": name, "content": prompt.content });
        match &self.session {
            Some(session) => args["sessionId"] = json!(session),
            None => args["workerId"] = json!(self.worker),
        }
        let stage = &self.stage;
        match stage
            .owner
            .ask(&stage.server, "mutation", "messages:send", &args)
        {
            Ok(sent) => {
                let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
                self.session = Some(text("sessionId"));
                let sent = Sent {
                    name,
                    session: text("sessionId"),
                    turn: text("turnId"),
                    prompt,
                    accepted: Instant::now(),
                    end: None,
                };
                self.load.sent.lock().unwrap().push(sent.clone());
                self.open.push(sent);
            }
            Err(refusal) => self
                .stage
                .verdict
                .wrong("lost", format!("{name} was not accepted: {refusal}")),
        }
    }

    fn look(&mut self) {
        let Some(session) = &self.session else { return };
        let args = json!({ "sessionId": session, "limit": 12 });
        let stage = &self.stage;
        let Ok(list) = stage
            .owner
            .ask(&stage.server, "query", "messages:list", &args)
        else {
            return;
        };
        let rows = list["messages"].as_array().cloned().unwrap_or_default();
        let (load, stage) = (&self.load, Arc::clone(&self.stage));
        self.open.retain_mut(|sent| {
            let row = rows.iter().find(|row| row["id"] == sent.turn.as_str());
            let Some(row) = row.filter(|row| is_closed(row)) else {
                return true;
            };
            if sent.end.is_none() {
                let end = end_of(row);
                if end.state != "complete" {
                    let End {
                        state,
                        code,
                        message,
                        ..
                    } = &end;
                    let line = format!("  {} {state} ({code}): {message}", sent.name);
                    stage.verdict.note(&line);
                }
                stage
                    .figures
                    .took(Figure::SentToClosed, sent.accepted.elapsed());
                sent.end = Some(end.clone());
                sent.accepted = Instant::now();
                load.change(&sent.turn, |one| one.end = Some(end));
            }
            // Its parts are the truth only when it is folded; its chunks go a minute after that.
            if row["folded"] == true {
                account::look_at_content(&stage, sent, row);
                // What was replaced before it was folded had been provisional: the deployment replaces nothing else.
                load.change(&sent.turn, |one| {
                    if let Some(end) = &mut one.end {
                        end.provisional |= end.state != end_of(row).state;
                    }
                });
                return false;
            }
            let waits = sent.accepted.elapsed() < FOLDING;
            if !waits {
                load.change(&sent.turn, |one| {
                    if let Some(end) = &mut one.end {
                        end.provisional = true;
                    }
                });
            }
            waits
        });
    }
}

pub fn is_closed(row: &Value) -> bool {
    let state = row["state"].as_str().unwrap_or_default();
    !matches!(state, "queued" | "claimed" | "")
}

pub fn end_of(row: &Value) -> End {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    End {
        state: text(&row["state"]),
        code: text(&row["error"]["code"]),
        message: text(&row["error"]["message"]),
        provisional: false,
    }
}
