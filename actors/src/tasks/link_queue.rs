//! The queue of a deployment, over its link: pulls under a lease, renews the lease while the task is in hand, and hears when
//! its owner calls it off. What a pull that was dropped has taken is given back by the next one: the deployment sees
//! that its own installation does not know of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::call::CallError;
use crate::domain::ids::TaskId;
use crate::domain::task::Entry;
use crate::ports::Pending;
use crate::ports::link::{Credential, Link};
use crate::ports::tasks::{Acknowledgement, Metrics, Pulled, Queue, QueueError, Task};

/// Well before the deployment's five minutes are over.
const RENEW: Duration = Duration::from_mins(1);

/// While another installation may still be at work, or the deployment fails.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct LinkQueue {
    link: Arc<dyn Link>,
    /// The right to write; a new one takes the place of the former.
    credential: watch::Receiver<Credential>,
    /// Further attempts at tasks for which nobody has said how many.
    retries: Option<u32>,
    /// A pull of an empty queue ends instead of waiting.
    ends_when_empty: bool,
    /// Looks after the lease in hand; ends with the next word about it.
    keeper: Arc<Mutex<Option<AbortOnDropHandle<()>>>>,
}

impl LinkQueue {
    pub fn new(link: Arc<dyn Link>, credential: watch::Receiver<Credential>) -> Self {
        Self {
            link,
            credential,
            retries: None,
            ends_when_empty: false,
            keeper: Arc::default(),
        }
    }

    /// For a loop that somebody starts when there are tasks.
    #[must_use]
    pub fn until_empty(mut self, retries: Option<u32>) -> Self {
        self.ends_when_empty = true;
        self.retries = retries;
        self
    }

    fn right(&self) -> Credential {
        self.credential.borrow().clone()
    }

    fn keep(&self, keeper: Option<AbortOnDropHandle<()>>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = keeper;
    }

    async fn call(&self, function: &'static str, mut args: Value) -> Result<Value, CallError> {
        let right = self.right();
        args["token"] = json!(right.token.expose());
        args["epoch"] = json!(right.epoch as f64);
        self.link.mutate(function, args).await
    }

    async fn pull_lease(&self, known: Option<&str>) -> Result<Value, CallError> {
        let mut args = json!({ "leaseId": uuid::Uuid::new_v4().to_string() });
        if let Some(known) = known {
            args["known"] = json!(known);
        }
        if let Some(retries) = self.retries {
            args["maxRetries"] = json!(f64::from(retries));
        }
        self.call("tasks:pull", args).await
    }

    fn watch(&self) -> mpsc::Receiver<Result<Value, CallError>> {
        let (to, changes) = mpsc::channel(4);
        let right = self.right();
        let args = json!({ "token": right.token.expose(), "epoch": right.epoch as f64 });
        self.link.watch("tasks:waiting", args, to);
        changes
    }

    async fn take(&self, known: Option<String>) -> Result<Pulled, QueueError> {
        let mut changes = (!self.ends_when_empty).then(|| self.watch());
        loop {
            let answer = match self.pull_lease(known.as_deref()).await {
                Ok(answer) => answer,
                Err(CallError::Closed) => return Ok(Pulled::Ended),
                Err(error) if error.is_transient() => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(QueueError::Refused(error.to_string())),
            };
            match answer["status"].as_str() {
                Some("task") => return Ok(Pulled::Task(self.in_hand(&answer))),
                Some("lost") => return Err(QueueError::Lost),
                Some("busy") => tokio::time::sleep(LOOK_AGAIN).await,
                _ => match &mut changes {
                    Some(changes) => until_queued(changes).await?,
                    None => return Ok(Pulled::Ended),
                },
            }
        }
    }

    fn in_hand(&self, answer: &Value) -> Task {
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let task = Task {
            id: TaskId::new(text("taskId")),
            description: text("text"),
            attempt: answer["attempt"].as_f64().unwrap_or(1.0) as u32,
            lease: text("leaseId"),
            withdrawn: CancellationToken::new(),
        };
        if answer["canceled"] == true {
            task.withdrawn.cancel();
        }
        let keeping = look_after(self.clone(), task.clone());
        self.keep(Some(AbortOnDropHandle::new(tokio::spawn(keeping))));
        task
    }

    async fn say(
        &self,
        task: &Task,
        what: &Acknowledgement,
        metrics: &Metrics,
    ) -> Result<(), QueueError> {
        let args = json!({
            "taskId": task.id, "leaseId": task.lease, "result": result_of(what),
            "report": report_of(task, what, metrics),
        });
        loop {
            match self.call("tasks:acknowledge", args.clone()).await {
                Ok(answer) if answer["status"] == "lost" => return Err(QueueError::Lost),
                Ok(_) => return Ok(()),
                Err(error) if error.is_transient() => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return Err(QueueError::Refused(error.to_string())),
            }
        }
    }
}

/// Waits until there may be something to pull.
async fn until_queued(
    changes: &mut mpsc::Receiver<Result<Value, CallError>>,
) -> Result<(), QueueError> {
    loop {
        match changes.recv().await {
            Some(Ok(waiting)) if waiting["queued"] == true => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) if error.is_transient() => tokio::time::sleep(LOOK_AGAIN).await,
            Some(Err(error)) => return Err(QueueError::Refused(error.to_string())),
            None => return Err(QueueError::Refused("the link is closed".to_owned())),
        }
    }
}

/// Renews the lease and hears when the task is called off. A task that is not ours any more is withdrawn, too.
async fn look_after(queue: LinkQueue, task: Task) {
    let mut changes = queue.watch();
    let mut right = queue.credential.clone();
    right.mark_unchanged();
    let mut renewable = true;
    let mut renewals = tokio::time::interval(RENEW);
    renewals.tick().await;
    loop {
        tokio::select! {
            // The subscription of the former right says nothing any more.
            renewed = right.changed(), if renewable => match renewed {
                Ok(()) => changes = queue.watch(),
                Err(_) => renewable = false,
            },
            change = changes.recv() => match change {
                // What a subscription says may be older than our lease, so it is only a reason to ask.
                Some(Ok(waiting)) => {
                    let running = &waiting["running"];
                    if running["taskId"] == task.id.as_str() && running["canceled"] != true {
                        continue;
                    }
                }
                Some(Err(_)) => continue,
                None => return,
            },
            _ = renewals.tick() => {}
        }
        let is_ours = match queue.pull_lease(Some(&task.lease)).await {
            // `busy`: the lease ran out while we slept and the worker's next task is somebody else's, but this one is nobody's.
            Ok(answer) if answer["status"] == "busy" => true,
            Ok(answer) => answer["status"] == "task" && answer["canceled"] != true,
            Err(error) => error.is_transient(),
        };
        if !is_ours {
            task.withdrawn.cancel();
            return;
        }
    }
}

fn result_of(what: &Acknowledgement) -> Value {
    match what {
        Acknowledgement::Done(artifact) => json!({ "status": "done", "artifact": artifact }),
        Acknowledgement::Failed(failure) => json!({
            "status": "failed",
            "failure": { "class": failure.class, "message": failure.message },
            "retry": failure.class.worth_another_attempt(),
        }),
        Acknowledgement::Returned(_) => json!({ "status": "returned" }),
    }
}

/// What the report's text may have: the deployment keeps so many characters and would cut JSON in the middle.
const SUMMARY_CHARS: usize = 2_000;

/// The attempt in figures, for people and programs that look at the task later.
fn report_of(task: &Task, what: &Acknowledgement, metrics: &Metrics) -> String {
    let mut report = json!(metrics);
    report["attempt"] = json!(task.attempt);
    let outcome = match what {
        Acknowledgement::Done(_) => "done",
        Acknowledgement::Failed(_) => "failed",
        Acknowledgement::Returned(why) => {
            report["why"] = json!(why.chars().take(SUMMARY_CHARS).collect::<String>());
            "returned"
        }
    };
    report["outcome"] = json!(outcome);
    if let Some(run) = &metrics.run {
        let told: String = run.summary.chars().take(SUMMARY_CHARS).collect();
        report["run"]["summary"] = json!(told);
    }
    report.to_string()
}

impl Queue for LinkQueue {
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>> {
        let queue = self.clone();
        Box::pin(async move {
            queue.keep(None);
            queue.take(known.map(|entry| entry.lease)).await
        })
    }

    fn news(&self) -> Pending<()> {
        let mut changes = self.watch();
        Box::pin(async move {
            let mut known = None;
            while let Some(change) = changes.recv().await {
                match (change, &known) {
                    (Ok(now), Some(before)) if now != *before => return,
                    (Ok(now), _) => known = Some(now),
                    (Err(_), _) => {}
                }
            }
            std::future::pending::<()>().await;
        })
    }

    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        metrics: Metrics,
    ) -> Pending<Result<(), QueueError>> {
        let queue = self.clone();
        Box::pin(async move {
            queue.keep(None);
            queue.say(&task, &what, &metrics).await
        })
    }
}
