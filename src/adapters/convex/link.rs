//! The port `Link` over a [`Connection`]: streams of running turns, finishes, the outbox's replay.
//!
//! All of it lives here and outlives [`Link::drive`]: a bridge that dies and comes back finds its calls, its
//! streams and the append in flight where they were. One append is in flight per deployment; what is pushed
//! meanwhile is merged into the next. How a turn is finished is in `settle`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::Draft;
use orchestrator_actors::domain::stream::{Right, Taken};
use orchestrator_actors::domain::turn::Ending;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::link::{
    CallError, Credential, Finished, Link, LinkDown, LinkStatus, StreamError,
};
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Answer, Connection, lock};
use super::settings::Settings;
use super::settle;
use super::state::{Core, stream_error};
use crate::adapters::clock::wall_ms;

/// Makes links: one per distinct deployment, all on the same outbox.
pub struct ConvexLinks {
    outbox: Arc<dyn Outbox>,
    settings: fn(&str) -> Settings,
    append_spacing: Option<Duration>,
    links: Mutex<BTreeMap<DeploymentUrl, Arc<ConvexLink>>>,
}

impl ConvexLinks {
    pub fn new(outbox: Arc<dyn Outbox>) -> Self {
        Self {
            outbox,
            settings: Settings::suited_to,
            append_spacing: None,
            links: Mutex::default(),
        }
    }

    /// The least time between appends, instead of the one that suits the deployment.
    #[must_use]
    pub fn with_append_spacing(mut self, spacing: Duration) -> Self {
        self.append_spacing = Some(spacing);
        self
    }

    pub fn link(&self, url: &DeploymentUrl) -> Arc<dyn Link> {
        let mut links = lock(&self.links);
        let link = links.entry(url.clone()).or_insert_with(|| {
            let mut settings = (self.settings)(url.as_str());
            settings.append_spacing = self.append_spacing.unwrap_or(settings.append_spacing);
            ConvexLink::new(url, settings, Arc::clone(&self.outbox))
        });
        Arc::clone(link) as Arc<dyn Link>
    }

    /// Drops the links to other deployments than these, as soon as nobody holds them: a bridge that flushes still does,
    /// and what it takes up again must be the same link.
    pub fn keep(&self, urls: &BTreeSet<&DeploymentUrl>) {
        lock(&self.links).retain(|url, link| urls.contains(url) || Arc::strong_count(link) > 1);
    }
}

pub struct ConvexLink {
    core: Arc<Core>,
    /// Ends the tasks of finishes and subscriptions with the link.
    _end: DropGuard,
}

impl ConvexLink {
    pub fn new(url: &DeploymentUrl, settings: Settings, outbox: Arc<dyn Outbox>) -> Arc<Self> {
        let end = CancellationToken::new();
        let connection = Connection::new(url.as_str(), settings, None);
        let core = Core::new(connection, outbox, end.clone());
        Arc::new(Self {
            core: Arc::new(core),
            _end: end.drop_guard(),
        })
    }

    /// Bytes of chunks that the deployment has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        lock(&self.core.book).weight()
    }
}

impl Link for ConvexLink {
    fn mutate(&self, function: &'static str, args: Value) -> Pending<Answer> {
        let connection = &self.core.connection;
        if !connection.has_room() {
            let message = "too many calls wait for the deployment".to_owned();
            let code = "queue_full".to_owned();
            return Box::pin(std::future::ready(Err(CallError::Refused {
                code,
                message,
            })));
        }
        let receiver = connection.call(function, args);
        Box::pin(async move { receiver?.await.unwrap_or(Err(CallError::Closed)) })
    }

    fn watch(&self, function: &'static str, args: Value, to: mpsc::Sender<Answer>) {
        let watching = self.core.connection.watch(function, args);
        let end = self.core.end.clone();
        tokio::spawn(async move {
            let mut watching = match watching {
                Ok(watching) => watching,
                Err(error) => {
                    let _ = to.send(Err(error)).await;
                    return;
                }
            };
            loop {
                tokio::select! {
                    () = end.cancelled() => return,
                    () = to.closed() => return,
                    answer = watching.next() => {
                        let Some(answer) = answer else { return };
                        if to.send(answer).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
    }

    fn open_stream(&self, turn: TurnId, credential: Credential, next_index: u64) {
        // Lock order: settling, then the book.
        let settling = lock(&self.core.settling);
        let mut book = lock(&self.core.book);
        if !settling.contains_key(&turn) {
            book.close_sealed(&turn);
        }
        book.open(turn, right(credential), next_index);
        drop((book, settling));
        self.core.bump();
    }

    fn push(&self, turn: &TurnId, drafts: Vec<Draft>) -> Result<(), StreamError> {
        let pushed = lock(&self.core.book).push(turn, drafts, wall_ms());
        self.core.wake_appends();
        match pushed.map_err(stream_error)? {
            Taken::Whole => Ok(()),
            Taken::InPart => Err(StreamError::Missed),
        }
    }

    fn recover(&self, turn: TurnId, drafts: Vec<Draft>) -> Pending<Result<(), StreamError>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.recover(&turn, drafts.into()).await })
    }

    fn finish(
        &self,
        turn: TurnId,
        credential: Credential,
        ending: Ending,
    ) -> Pending<Result<Finished, CallError>> {
        let worker = credential.worker().clone();
        let right = right(credential);
        let begun = settle::start(&self.core, &turn, &right, true, |book| FinishRecord {
            worker,
            turn: turn.clone(),
            ending,
            items: book.seal(&turn, right.clone()),
        });
        Box::pin(settle::wait(begun.done))
    }

    fn replay(&self, credential: Credential) -> Pending<Result<usize, CallError>> {
        let core = Arc::clone(&self.core);
        let (worker, outbox) = (credential.worker().clone(), Arc::clone(&core.outbox));
        let right = right(credential);
        // Before the outbox is read: a finish that comes after that goes out under this right by itself.
        if right.epoch > 0 {
            lock(&core.book).renew(right.clone());
            core.bump();
        }
        Box::pin(async move {
            let read = spawn_blocking(move || outbox.pending(&worker));
            let records = read.await.unwrap_or_default();
            let mut begun = Vec::new();
            for record in records {
                let mut one = core.resume(record.clone(), &right);
                one.queued().await;
                begun.push((one, record));
            }
            let mut answered = 0;
            let mut failed = None;
            for (begun, record) in begun {
                let mut result = settle::wait(begun.done).await;
                // It may have been refused under the older right just before we joined.
                if begun.joined && result.as_ref().is_err_and(|e| !settle::is_final(e)) {
                    result = settle::wait(core.resume(record, &right).done).await;
                }
                match result {
                    Err(error) if !settle::is_final(&error) => failed = failed.or(Some(error)),
                    _ => answered += 1,
                }
            }
            failed.map_or(Ok(answered), Err)
        })
    }

    fn drive(&self) -> Pending<LinkDown> {
        let core = Arc::clone(&self.core);
        Box::pin(async move {
            tokio::select! {
                end = core.connection.drive() => LinkDown(end.to_string()),
                never = core.append_forever() => match never {},
            }
        })
    }

    fn status(&self) -> LinkStatus {
        let standing = self.core.connection.standing().borrow().clone();
        let (calls, _) = self.core.connection.waiting();
        LinkStatus {
            phase: standing.phase,
            rtt_us: self.core.connection.rtt_us(),
            last_error: standing.last_error,
            waiting: calls + lock(&self.core.book).waiting().len(),
            attempts: standing.attempts,
        }
    }

    fn flush(&self, within_ms: u64) -> Pending<bool> {
        let core = Arc::clone(&self.core);
        let (_, request) = core.connection.waiting();
        let streams = lock(&core.book).waiting();
        let finishes: Vec<_> = lock(&core.settling).values().cloned().collect();
        Box::pin(async move {
            let flushed = async {
                let mut answers = core.connection.progress();
                while !core.connection.has_answered_before(request) {
                    if answers.changed().await.is_err() {
                        return false;
                    }
                }
                let mut progress = core.progress();
                while !core.has_reached(&streams) {
                    if progress.changed().await.is_err() {
                        return false;
                    }
                }
                for finish in finishes {
                    let _ = settle::wait(finish).await;
                }
                true
            };
            let within = Duration::from_millis(within_ms);
            tokio::time::timeout(within, flushed).await.unwrap_or(false)
        })
    }
}

fn right(credential: Credential) -> Right {
    Right {
        token: credential.token,
        epoch: credential.epoch,
    }
}
