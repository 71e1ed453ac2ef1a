//! `orchestrator deployment check`: plays the product's own scenario against a deployment, as its owner and as a worker,
//! under a throwaway machine that it removes again. For people with a deployment of their own: what passes here
//! is what the supervisor needs of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::adapters::convex::{ClientError, OwnerClient};

/// For a change to reach a subscriber.
const ARRIVAL: Duration = Duration::from_secs(10);

/// One step, and what was wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub what: &'static str,
    pub error: Option<String>,
}

/// Plays the scenario; `report` is told of each step as it ends. Later steps need the earlier ones, so the first
/// failure ends it, and so does an interruption, but for the clean-up; a second interruption ends that, too.
pub async fn play(
    client: &OwnerClient,
    mut interrupted: impl AsyncFnMut(),
    mut report: impl FnMut(Step),
) -> bool {
    let scenario = Scenario::new(client);
    let mut passed = true;
    for (what, step) in Scenario::STEPS {
        let error = unless(interrupted(), scenario.step(*step)).await.err();
        passed &= error.is_none();
        report(Step { what, error });
        if !passed {
            break;
        }
    }
    // calls are answered in their order: what was under way is done before it is removed
    let error = unless(interrupted(), scenario.clean_up()).await.err();
    passed &= error.is_none();
    report(Step {
        what: "the throwaway machine is removed again",
        error,
    });
    passed
}

async fn unless(
    interrupted: impl Future<Output = ()>,
    step: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    tokio::select! {
        biased;
        () = interrupted => Err("interrupted".to_owned()),
        ended = step => ended,
    }
}

#[derive(Clone, Copy)]
enum Name {
    Register,
    Approve,
    Connect,
    Send,
    Inbox,
    Claim,
    Stream,
    Finish,
    Late,
    Refusals,
    Displace,
}

struct Scenario<'a> {
    client: &'a OwnerClient,
    id: String,
    token: std::sync::Mutex<Option<String>>,
}

impl<'a> Scenario<'a> {
    const STEPS: &'static [(&'static str, Name)] = &[
        ("a machine is registered", Name::Register),
        ("a worker is created, pending, and approved", Name::Approve),
        (
            "a supervisor connects with the worker's token",
            Name::Connect,
        ),
        (
            "a message starts a session, and sending it again changes nothing",
            Name::Send,
        ),
        ("the worker's inbox names the turn", Name::Inbox),
        (
            "the worker claims the turn and confirms its conversation",
            Name::Claim,
        ),
        (
            "what the worker appends reaches a subscriber, once and in order",
            Name::Stream,
        ),
        ("the turn is finished and folded", Name::Finish),
        ("what comes after the end changes nothing", Name::Late),
        (
            "a wrong token and an unknown worker are refused",
            Name::Refusals,
        ),
        (
            "another install is refused, and displaces when it takes over",
            Name::Displace,
        ),
    ];

    fn new(client: &'a OwnerClient) -> Self {
        Self {
            client,
            id: format!("check_{}", uuid::Uuid::now_v7().simple()),
            token: std::sync::Mutex::default(),
        }
    }

    async fn step(&self, name: Name) -> Result<(), String> {
        match name {
            Name::Register => self.register().await,
            Name::Approve => self.approve().await,
            Name::Connect => self.connect().await,
            Name::Send => self.send().await,
            Name::Inbox => self.inbox().await,
            Name::Claim => self.claim().await,
            Name::Stream => self.stream().await,
            Name::Finish => self.finish().await,
            Name::Late => self.late().await,
            Name::Refusals => self.refusals().await,
            Name::Displace => self.displace().await,
        }
    }

    fn session(&self) -> String {
        format!("session_{}", self.id)
    }

    fn turn(&self) -> String {
        format!("turn_{}", self.id)
    }

    /// Arguments of a worker's call.
    fn as_worker(&self, mut args: Value) -> Value {
        let token = self
            .token
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        args["token"] = token.clone().unwrap_or_default().into();
        args["epoch"] = 1.0.into();
        args
    }

    async fn register(&self) -> Result<(), String> {
        let args = json!({
            "machineId": self.id, "name": "deployment check", "hostname": "check", "os": std::env::consts::OS, "tools": [],
        });
        expect(
            &self.mutation("machines:register", args).await?,
            "/machineId",
            &json!(self.id),
        )
    }

    async fn approve(&self) -> Result<(), String> {
        let args =
            json!({ "workerId": self.id, "machineId": self.id, "name": "check", "directory": "/" });
        let created = self.mutation("workers:create", args).await?;
        let token = created["token"]
            .as_str()
            .ok_or("workers:create gave no token")?;
        *self
            .token
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(token.to_owned());
        self.mutation("workers:approve", json!({ "workerId": self.id }))
            .await?;
        let workers = self
            .query("workers:list", json!({ "machineId": self.id }))
            .await?;
        expect(&workers, "/0/state", &json!("approved"))
    }

    fn connection(&self, install: &str, take_over: bool) -> Value {
        let mut args = self.as_worker(json!({
            "installId": format!("{}_{install}", self.id), "startId": format!("{}_{install}", self.id), "bootId": "check",
            "storeId": format!("{}_{install}", self.id), "takeOver": take_over,
            "machine": { "hostname": "check", "os": std::env::consts::OS, "tools": [] },
        }));
        if let Some(args) = args.as_object_mut() {
            args.remove("epoch");
        }
        args
    }

    async fn connect(&self) -> Result<(), String> {
        for _ in 0..2 {
            let connected = self
                .mutation("workers:connect", self.connection("first", false))
                .await?;
            expect(&connected, "/status", &json!("approved"))?;
            expect(&connected, "/epoch", &json!(1))?;
        }
        self.mutation("presence:beat", self.as_worker(json!({})))
            .await
            .map(drop)
    }

    async fn send(&self) -> Result<(), String> {
        for _ in 0..2 {
            let args = json!({ "id": self.id, "workerId": self.id, "content": "a message from deployment check" });
            let sent = self.mutation("messages:send", args).await?;
            expect(&sent, "/sessionId", &json!(self.session()))?;
            expect(&sent, "/turnId", &json!(self.turn()))?;
        }
        Ok(())
    }

    async fn inbox(&self) -> Result<(), String> {
        let inbox = self.query("work:inbox", self.as_worker(json!({}))).await?;
        expect(&inbox, "/displaced", &json!(false))?;
        expect(&inbox, "/turns/0/turnId", &json!(self.turn()))?;
        expect(&inbox, "/turns/0/state", &json!("queued"))
    }

    async fn claim(&self) -> Result<(), String> {
        let args = json!({ "turnId": self.turn() });
        let claimed = self
            .mutation("messages:claim", self.as_worker(args))
            .await?;
        expect(&claimed, "/status", &json!("claimed"))?;
        expect(&claimed, "/nextIndex", &json!(0))?;
        let args = json!({ "sessionId": self.session(), "agentSessionId": "ses_check" });
        let confirmed = self
            .mutation("sessions:confirm", self.as_worker(args))
            .await?;
        expect(&confirmed, "/agentSessionId", &json!("ses_check"))
    }

    fn items(range: std::ops::Range<u32>) -> Value {
        let item = |index| json!({ "index": index, "timestamp": 0, "partId": "p", "kind": "text", "content": format!("{index} ") });
        range.map(item).collect()
    }

    fn batch(&self, items: &Value) -> Value {
        json!({ "batches": [self.as_worker(json!({ "turn": self.turn(), "items": items }))] })
    }

    async fn stream(&self) -> Result<(), String> {
        let page = json!({ "turnId": self.turn(), "from": 0 });
        let mut updates = self.client.subscribe("chunks:page", page);
        for items in [Self::items(0..2), Self::items(0..3)] {
            let answer = self.mutation("chunks:append", self.batch(&items)).await?;
            expect(&answer, "/results/0/status", &json!("ok"))?;
        }
        let whole = async {
            while let Some(update) = updates.recv().await {
                let page = update.map_err(|error| error.to_string())?;
                if in_order(&page)? == 3 {
                    return Ok(());
                }
            }
            Err("the subscription ended".to_owned())
        };
        timeout(ARRIVAL, whole)
            .await
            .map_err(|_| format!("nothing arrived within {} s", ARRIVAL.as_secs()))?
    }

    async fn finish(&self) -> Result<(), String> {
        let args =
            json!({ "turnId": self.turn(), "outcome": "complete", "items": Self::items(3..4) });
        let finished = self
            .mutation("messages:finish", self.as_worker(args))
            .await?;
        expect(&finished, "/status", &json!("closed"))?;
        let list = self
            .query("messages:list", json!({ "sessionId": self.session() }))
            .await?;
        expect(&list, "/messages/1/state", &json!("complete"))?;
        expect(&list, "/messages/1/parts/0/text", &json!("0 1 2 3 "))
    }

    async fn late(&self) -> Result<(), String> {
        let args = json!({ "turnId": self.turn(), "outcome": "failed", "items": [] });
        let again = self
            .mutation("messages:finish", self.as_worker(args))
            .await?;
        expect(&again, "/status", &json!("already"))?;
        let answer = self
            .mutation("chunks:append", self.batch(&Self::items(4..5)))
            .await?;
        expect(&answer, "/results/0/status", &json!("closed"))
    }

    async fn refusals(&self) -> Result<(), String> {
        let mut args = self.as_worker(json!({}));
        args["token"] = format!("machine_{0}:worker_{0}:secret_wrong", self.id).into();
        refused(self.client.query("work:inbox", args).await, "unauthorized")?;
        let args = json!({ "workerId": format!("{}_nobody", self.id) });
        refused(
            self.client.mutation("workers:approve", args).await,
            "not_found",
        )
    }

    async fn displace(&self) -> Result<(), String> {
        let other = |take_over| {
            self.client
                .mutation("workers:connect", self.connection("other", take_over))
        };
        // the steps before may have taken longer than a supervisor may be silent
        self.mutation("presence:beat", self.as_worker(json!({})))
            .await?;
        refused(other(false).await, "held")?;
        expect(
            &other(true).await.map_err(|error| error.to_string())?,
            "/epoch",
            &json!(2),
        )?;
        let inbox = self.query("work:inbox", self.as_worker(json!({}))).await?;
        expect(&inbox, "/displaced", &json!(true))
    }

    /// All of it, whatever becomes of the parts.
    async fn clean_up(&self) -> Result<(), String> {
        let mut left = Vec::new();
        for (function, args) in [
            ("sessions:end", json!({ "sessionId": self.session() })),
            ("workers:remove", json!({ "workerId": self.id })),
            ("machines:remove", json!({ "machineId": self.id })),
        ] {
            match self.client.mutation(function, args).await {
                Ok(_) => {}
                Err(ClientError::Refused { code, .. }) if code == "not_found" => {}
                Err(error) => left.push(format!("{function}: {error}")),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(format!("`{}` may be left: {}", self.id, left.join("; ")))
    }

    async fn query(&self, function: &str, args: Value) -> Result<Value, String> {
        let answer = self.client.query(function, args).await;
        answer.map_err(|error| format!("{function}: {error}"))
    }

    async fn mutation(&self, function: &str, args: Value) -> Result<Value, String> {
        let answer = self.client.mutation(function, args).await;
        answer.map_err(|error| format!("{function}: {error}"))
    }
}

/// How many items there are: each once, from the first, with what was appended.
fn in_order(page: &Value) -> Result<usize, String> {
    let items = page["items"].as_array().ok_or("a page has no items")?;
    for (at, item) in items.iter().enumerate() {
        expect(item, "/index", &json!(at))?;
        expect(item, "/content", &json!(format!("{at} ")))?;
    }
    Ok(items.len())
}

fn expect(value: &Value, pointer: &str, wanted: &Value) -> Result<(), String> {
    let found = value.pointer(pointer).unwrap_or(&Value::Null);
    let same = match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found.to_bits() == wanted.to_bits(),
        _ => found == wanted,
    };
    if same {
        return Ok(());
    }
    Err(format!(
        "`{}` is {found}, not {wanted}",
        pointer.trim_start_matches('/')
    ))
}

fn refused(result: Result<Value, ClientError>, wanted: &str) -> Result<(), String> {
    match result {
        Err(ClientError::Refused { code, .. }) if code == wanted => Ok(()),
        Err(ClientError::Unauthorized { .. }) if wanted == "unauthorized" => Ok(()),
        Err(error) => Err(format!(
            "refused with another error than `{wanted}`: {error}"
        )),
        Ok(_) => Err(format!("not refused, though it should be `{wanted}`")),
    }
}

#[cfg(test)]
mod tests;
