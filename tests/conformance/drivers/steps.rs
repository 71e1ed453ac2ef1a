//! Taking the steps of scenarios, for the clients that are written in Rust: the counterpart of `steps.mjs`.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Outcomes;
use crate::expectation::{Outcome, Saved, Seen, filled_args, saves};
use crate::scenario::Scenario;

const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Makes clients for identities.
#[async_trait]
pub trait Connect: Sync {
    async fn connect(&self, identity: &str) -> Box<dyn Client>;
}

#[async_trait]
pub trait Client: Send {
    /// `kind` is `query` or `mutation`.
    async fn call(&mut self, kind: &str, function: &str, args: Value) -> Outcome;

    async fn subscribe(&mut self, function: &str, args: Value) -> Box<dyn Updates>;
}

#[async_trait]
pub trait Updates: Send {
    /// The next result; it may be the same as the last one.
    async fn next(&mut self) -> Outcome;
}

pub async fn run(connect: &dyn Connect, scenarios: &[Scenario]) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for scenario in scenarios {
        let mut run = Run {
            connect,
            saved: Saved::from([("run".to_owned(), json!(scenario.run))]),
            clients: BTreeMap::new(),
            watches: BTreeMap::new(),
        };
        for (number, step) in scenario.steps.iter().enumerate() {
            let outcome = match tokio::time::timeout(STEP_LIMIT, run.take(step)).await {
                Ok(outcome) => outcome,
                Err(_) => Seen::Failed("no answer in time".to_owned()).into(),
            };
            if let Seen::Value(value) = &outcome.result {
                saves(step, value, &mut run.saved);
            }
            outcomes.insert((scenario.name.clone(), number), outcome);
        }
    }
    outcomes
}

struct Run<'a> {
    connect: &'a dyn Connect,
    saved: Saved,
    clients: BTreeMap<String, Box<dyn Client>>,
    /// With the last result that the scenario has seen.
    watches: BTreeMap<String, (Box<dyn Updates>, String)>,
}

impl Run<'_> {
    async fn take(&mut self, step: &Value) -> Outcome {
        if let Some(name) = step["changed"].as_str() {
            let (updates, seen) = self
                .watches
                .get_mut(name)
                .expect("a subscription of that name");
            return changed(updates.as_mut(), seen).await;
        }
        let identity = step["as"].as_str().expect("an identity");
        if !self.clients.contains_key(identity) {
            let client = self.connect.connect(identity).await;
            self.clients.insert(identity.to_owned(), client);
        }
        let client = self.clients.get_mut(identity).expect("it is there now");
        let args = filled_args(step, &self.saved);
        for kind in ["query", "mutation"] {
            if let Some(function) = step[kind].as_str() {
                return client.call(kind, function, args).await;
            }
        }
        let function = step["subscribe"]
            .as_str()
            .expect("a step that does something");
        let mut updates = client.subscribe(function, args).await;
        let mut seen = String::new();
        let outcome = changed(updates.as_mut(), &mut seen).await;
        let id = step["id"].as_str().expect("a subscription has an id");
        self.watches.insert(id.to_owned(), (updates, seen));
        outcome
    }
}

/// Scenarios do not count results: they wait for the next one that differs.
async fn changed(updates: &mut dyn Updates, seen: &mut String) -> Outcome {
    loop {
        let outcome = updates.next().await;
        let key = format!("{:?}", outcome.result);
        if key != *seen {
            *seen = key;
            return outcome;
        }
    }
}
