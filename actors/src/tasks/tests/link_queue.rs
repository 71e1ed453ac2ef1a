//! The deployment's queue over a link that says what it is told to: what becomes of a task in hand when its lease is in
//! question.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::domain::call::{CallError, Finished, StreamError};
use crate::domain::ids::TurnId;
use crate::domain::item::Draft;
use crate::domain::token::WorkerToken;
use crate::domain::turn::Ending;
use crate::ports::Pending;
use crate::ports::link::{Credential, Link, LinkDown, LinkStatus};
use crate::ports::tasks::{Pulled, Queue, Task};
use crate::tasks::LinkQueue;

#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<Value, CallError>>>,
    calls: Mutex<Vec<Value>>,
    /// Kept open.
    watched: Mutex<Vec<mpsc::Sender<Result<Value, CallError>>>>,
}

impl Link for Scripted {
    fn mutate(&self, _: &'static str, args: Value) -> Pending<Result<Value, CallError>> {
        self.calls.lock().unwrap().push(args);
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn watch(&self, _: &'static str, _: Value, to: mpsc::Sender<Result<Value, CallError>>) {
        self.watched.lock().unwrap().push(to);
    }

    fn open_stream(&self, _: TurnId, _: Credential, _: u64) {}

    fn push(&self, _: &TurnId, _: Vec<Draft>) -> Result<(), StreamError> {
        unreachable!("tasks have no stream")
    }

    fn recover(&self, _: TurnId, _: Vec<Draft>) -> Pending<Result<(), StreamError>> {
        unreachable!("tasks have no stream")
    }

    fn finish(&self, _: TurnId, _: Credential, _: Ending) -> Pending<Result<Finished, CallError>> {
        unreachable!("tasks have no stream")
    }

    fn replay(&self, _: Credential) -> Pending<Result<usize, CallError>> {
        unreachable!("tasks have no outbox")
    }

    fn drive(&self) -> Pending<LinkDown> {
        unreachable!("the bridge's")
    }

    fn status(&self) -> LinkStatus {
        LinkStatus::default()
    }

    fn flush(&self, _: u64) -> Pending<bool> {
        unreachable!("the bridge's")
    }
}

fn answer(status: &str) -> Value {
    json!({"status": status, "taskId": "t", "text": "a", "attempt": 1.0, "leaseId": "l1"})
}

/// A task in hand, after which the deployment answers each renewal by the next of these.
async fn in_hand(
    renewals: &[&str],
) -> (Task, Arc<Scripted>, (LinkQueue, watch::Sender<Credential>)) {
    let link = Arc::new(Scripted::default());
    let answers = ["task"].iter().chain(renewals).map(|status| match *status {
        "away" => Err(CallError::Server("away".to_owned())),
        status => Ok(answer(status)),
    });
    link.answers.lock().unwrap().extend(answers);
    let token = WorkerToken::parse("machine_m:worker_w:secret_s").unwrap();
    let right = Credential {
        token: Arc::new(token),
        epoch: 1,
    };
    let (renew, right) = watch::channel(right);
    let queue = LinkQueue::new(link.clone(), right).until_empty(None);
    let Ok(Pulled::Task(task)) = queue.pull(None).await else {
        panic!("no task");
    };
    (task, link, (queue, renew))
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_in_question_calls_nothing_off_until_somebody_else_has_the_task() {
    let (task, link, _kept) = in_hand(&["away", "busy", "task", "lost"]).await;
    // A renewal a minute.
    for renewal in 1..=3 {
        tokio::time::sleep(Duration::from_mins(1) + Duration::from_millis(1)).await;
        assert_eq!(link.calls.lock().unwrap().len(), 1 + renewal);
        assert!(!task.withdrawn.is_cancelled(), "renewal {renewal}");
    }
    let shown = link.calls.lock().unwrap()[1]["known"].clone();
    assert_eq!(shown, "l1");
    tokio::time::timeout(Duration::from_mins(2), task.withdrawn.cancelled())
        .await
        .expect("withdrawn");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_hears_of_a_change_and_not_of_what_was_so_before() {
    let (_task, link, (queue, _renew)) = in_hand(&[]).await;
    let mut news = queue.news();
    let to = link.watched.lock().unwrap().last().unwrap().clone();
    let waiting = |newest: &str| json!({"queued": true, "newest": newest, "running": null});
    for _ in 0..2 {
        to.send(Ok(waiting("a"))).await.unwrap();
    }
    to.send(Err(CallError::Server("away".to_owned())))
        .await
        .unwrap();
    let soon = Duration::from_secs(1);
    assert!(tokio::time::timeout(soon, &mut news).await.is_err());
    to.send(Ok(waiting("b"))).await.unwrap();
    tokio::time::timeout(soon, news).await.expect("news");
}
