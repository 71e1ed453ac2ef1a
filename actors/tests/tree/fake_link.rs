//! The link of one supervisor to the fake deployment, over the real book of streams: calls take a moment and go through
//! once while somebody drives it, streams and finishes outlive the bridge, and all of it dies with its process but for
//! the outbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::Draft;
use orchestrator_actors::domain::stream::{PushError, Rest, Right, StreamBook, Taken};
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::machine::Links;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::link::{
    CallError, Credential, Finished, Link, LinkDown, LinkPhase, LinkStatus, StreamError,
};
use orchestrator_actors::ports::outbox::FinishRecord;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::disk::Disk;
use crate::fake_deployment::FakeDeployment;
use crate::gate::{Gate, Point};

/// The way there and back.
const TRIP: Duration = Duration::from_millis(2);

type Done = Result<Finished, CallError>;
type Settling = BTreeMap<TurnId, watch::Receiver<Option<Done>>>;

#[derive(Clone)]
pub struct FakeLink(Arc<Inner>);

struct Inner {
    deployment: FakeDeployment,
    disk: Disk,
    gate: Gate,
    book: Mutex<StreamBook>,
    settling: Mutex<Settling>,
    /// Whether somebody drives it, and how often somebody began to.
    driven: watch::Sender<u32>,
    /// Whether the deployment can be reached.
    online: watch::Sender<bool>,
    drives: watch::Sender<u32>,
    flushes: watch::Sender<u32>,
    progress: watch::Sender<u64>,
    process: CancellationToken,
}

impl FakeLink {
    pub fn new(
        deployment: FakeDeployment,
        disk: Disk,
        gate: Gate,
        process: CancellationToken,
    ) -> Self {
        let link = Self(Arc::new(Inner {
            deployment,
            disk,
            gate,
            book: Mutex::default(),
            settling: Mutex::default(),
            driven: watch::channel(0).0,
            online: watch::channel(true).0,
            drives: watch::channel(0).0,
            flushes: watch::channel(0).0,
            progress: watch::channel(0).0,
            process,
        }));
        link.spawn(link.clone().append_forever());
        link
    }

    pub fn set_online(&self, online: bool) {
        self.0.online.send_replace(online);
    }

    pub fn drives(&self) -> watch::Receiver<u32> {
        self.0.drives.subscribe()
    }

    pub fn flushes(&self) -> watch::Receiver<u32> {
        self.0.flushes.subscribe()
    }

    /// A task of the process: it stops where it is when the process dies.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let process = self.0.process.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = process.cancelled() => {}
                () = task => {}
            }
        });
    }

    async fn trip(&self) {
        let mut driven = self.0.driven.subscribe();
        let _ = driven.wait_for(|drivers| *drivers > 0).await;
        let mut online = self.0.online.subscribe();
        let _ = online.wait_for(|online| *online).await;
        tokio::time::sleep(TRIP).await;
    }

    async fn append_forever(self) {
        let mut progress = self.0.progress.subscribe();
        loop {
            let batches = self.0.book.lock().unwrap().next_batch();
            let Some(batches) = batches else {
                let _ = progress.changed().await;
                continue;
            };
            self.trip().await;
            let results = self.0.deployment.append(&batches);
            self.trip().await;
            self.0.book.lock().unwrap().acknowledge(&results);
            self.bump();
        }
    }

    fn bump(&self) {
        self.0.progress.send_modify(|version| *version += 1);
    }

    /// Joins the finish of the turn that is under way, or starts one.
    fn settle(
        &self,
        turn: &TurnId,
        right: &Right,
        enter: impl FnOnce(&mut StreamBook) -> FinishRecord,
    ) -> watch::Receiver<Option<Done>> {
        let mut settling = self.0.settling.lock().unwrap();
        let mut book = self.0.book.lock().unwrap();
        if let Some(done) = settling.get(turn) {
            book.adopt(turn, right.clone());
            let done = done.clone();
            drop((book, settling));
            self.bump();
            return done;
        }
        let record = enter(&mut book);
        let (done, receiver) = watch::channel(None);
        settling.insert(turn.clone(), receiver.clone());
        drop((book, settling));
        let this = self.clone();
        self.spawn(async move {
            let turn = record.turn.clone();
            let result = this.deliver(record).await;
            {
                let mut settling = this.0.settling.lock().unwrap();
                let mut book = this.0.book.lock().unwrap();
                match &result {
                    Err(CallError::Server(_)) => book.unfinished(&turn, true),
                    _ => book.close(&turn),
                }
                settling.remove(&turn);
            }
            this.bump();
            done.send_replace(Some(result));
        });
        receiver
    }

    async fn deliver(&self, record: FinishRecord) -> Done {
        self.0.gate.pass(Point::BeforeRecord).await;
        self.0.disk.put(record.clone());
        // What is left may have to be appended first.
        self.bump();
        let mut progress = self.0.progress.subscribe();
        loop {
            let rest = self.0.book.lock().unwrap().rest(&record.turn);
            let (right, items) = match rest {
                Rest::Last { right, items, .. } => (right, items),
                Rest::Appending => {
                    let _ = progress.changed().await;
                    continue;
                }
                Rest::Refused(refusal) => {
                    return Err(CallError::Refused {
                        code: refusal.code.to_owned(),
                        message: refusal.message,
                    });
                }
                Rest::Gone => return Err(CallError::Closed),
            };
            self.0.gate.pass(Point::BeforeFinish).await;
            self.trip().await;
            let ending = record.ending.clone();
            let turn = record.turn.as_str();
            let result = self.0.deployment.finish(&right, turn, ending, &items);
            self.0.gate.pass(Point::AfterFinish).await;
            self.trip().await;
            let has_new_right = |now: &Right| *now != right;
            if matches!(&result, Err(CallError::Refused { .. })) {
                let mut book = self.0.book.lock().unwrap();
                if book.right(&record.turn).is_some_and(has_new_right) {
                    book.unfinished(&record.turn, false);
                    continue;
                }
            }
            let is_final = match &result {
                Ok(_) => true,
                Err(error) => error.code() == "removed",
            };
            if is_final {
                self.0.disk.forget(&record.turn);
            }
            return result;
        }
    }
}

impl Links for FakeLink {
    fn link(&self, _: &DeploymentUrl) -> Arc<dyn Link> {
        Arc::new(self.clone())
    }
}

fn stream_error(error: PushError) -> StreamError {
    match error {
        PushError::Unknown => StreamError::Unknown,
        PushError::Refused(reason) => StreamError::Refused(reason),
    }
}

async fn wait(mut done: watch::Receiver<Option<Done>>) -> Done {
    loop {
        if let Some(done) = done.borrow_and_update().clone() {
            return done;
        }
        if done.changed().await.is_err() {
            // The process is dead, and whoever waits in it.
            return std::future::pending().await;
        }
    }
}

fn right(credential: Credential) -> Right {
    Right {
        token: credential.token,
        epoch: credential.epoch,
    }
}

impl Link for FakeLink {
    fn mutate(&self, function: &'static str, args: Value) -> Pending<Result<Value, CallError>> {
        let (reply, answer) = oneshot::channel();
        let this = self.clone();
        self.spawn(async move {
            this.trip().await;
            let answer = this.0.deployment.call(function, &args);
            this.trip().await;
            let _ = reply.send(answer);
        });
        Box::pin(async move {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn watch(&self, _: &'static str, args: Value, to: mpsc::Sender<Result<Value, CallError>>) {
        let this = self.clone();
        let mut changed = self.0.deployment.changes();
        self.spawn(async move {
            let mut last = Value::Null;
            loop {
                this.trip().await;
                changed.borrow_and_update();
                let value = this.0.deployment.inbox(&args);
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

    fn open_stream(&self, turn: TurnId, credential: Credential, next_index: u64) {
        let settling = self.0.settling.lock().unwrap();
        let mut book = self.0.book.lock().unwrap();
        if !settling.contains_key(&turn) {
            book.close_sealed(&turn);
        }
        book.open(turn, right(credential), next_index);
        drop((book, settling));
        self.bump();
    }

    fn push(&self, turn: &TurnId, drafts: Vec<Draft>) -> Result<(), StreamError> {
        let pushed = self.0.book.lock().unwrap().push(turn, drafts, 1);
        self.bump();
        match pushed.map_err(stream_error)? {
            Taken::Whole => Ok(()),
            Taken::InPart => Err(StreamError::Missed),
        }
    }

    fn recover(&self, turn: TurnId, drafts: Vec<Draft>) -> Pending<Result<(), StreamError>> {
        let this = self.clone();
        let mut drafts = VecDeque::from(drafts);
        Box::pin(async move {
            loop {
                let mut progress = this.0.progress.subscribe();
                let before = drafts.len();
                let taken = this.0.book.lock().unwrap().recover(&turn, &mut drafts, 1);
                if drafts.len() < before {
                    this.bump();
                }
                match taken.map_err(stream_error)? {
                    Taken::Whole => return Ok(()),
                    Taken::InPart => drop(progress.changed().await),
                }
            }
        })
    }

    fn finish(
        &self,
        turn: TurnId,
        credential: Credential,
        ending: Ending,
    ) -> Pending<Result<Finished, CallError>> {
        let worker = credential.worker().clone();
        let right = right(credential);
        let done = self.settle(&turn, &right, |book| FinishRecord {
            worker,
            turn: turn.clone(),
            ending,
            items: book.seal(&turn, right.clone()),
        });
        Box::pin(wait(done))
    }

    fn replay(&self, credential: Credential) -> Pending<Result<usize, CallError>> {
        let right = right(credential.clone());
        if right.epoch > 0 {
            self.0.book.lock().unwrap().renew(right.clone());
            self.bump();
        }
        let records = self.0.disk.of(credential.worker());
        let begun: Vec<_> = records
            .into_iter()
            .map(|record| {
                let turn = record.turn.clone();
                self.settle(&turn, &right, |book| {
                    book.restore(turn.clone(), right.clone(), record.items.clone());
                    record
                })
            })
            .collect();
        Box::pin(async move {
            let mut answered = 0;
            for done in begun {
                answered += usize::from(wait(done).await.is_ok());
            }
            Ok(answered)
        })
    }

    fn drive(&self) -> Pending<LinkDown> {
        struct Driving(FakeLink);
        impl Drop for Driving {
            fn drop(&mut self) {
                self.0.0.driven.send_modify(|drivers| *drivers -= 1);
            }
        }
        self.0.drives.send_modify(|drives| *drives += 1);
        self.0.driven.send_modify(|drivers| *drivers += 1);
        let driving = Driving(self.clone());
        Box::pin(async move {
            let _driving = driving;
            std::future::pending().await
        })
    }

    fn status(&self) -> LinkStatus {
        let online = *self.0.online.borrow();
        LinkStatus {
            phase: if online {
                LinkPhase::Synced
            } else {
                LinkPhase::Offline
            },
            ..LinkStatus::default()
        }
    }

    fn flush(&self, within_ms: u64) -> Pending<bool> {
        self.0.flushes.send_modify(|flushes| *flushes += 1);
        let finishes: Vec<_> = self.0.settling.lock().unwrap().values().cloned().collect();
        Box::pin(async move {
            let all = futures_util::future::join_all(finishes.into_iter().map(wait));
            let within = Duration::from_millis(within_ms);
            tokio::time::timeout(within, all).await.is_ok()
        })
    }
}
