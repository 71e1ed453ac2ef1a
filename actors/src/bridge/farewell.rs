//! How a bridge lets go of workers: the token is given back at once, so that nobody waits for the missing beats, and
//! what a parked worker had claimed is closed. A token that the deployment may have given in this moment counts as held.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::actor::{Attached, BridgeState};
use crate::calls;
use crate::domain::ids::WorkerId;
use crate::domain::inbox::{Inbox, OpenState, SessionStatus};
use crate::domain::session::Saying;
use crate::domain::token::WorkerToken;
use crate::domain::turn::{Ending, Outcome};
use crate::ports::Pending;
use crate::ports::link::{Credential, Link};

/// What the farewell may take; a deployment that is away learns of it from the missing beats.
const DISCONNECT: Duration = Duration::from_millis(500);

impl BridgeState {
    pub(super) fn detach(&mut self, worker: &WorkerId) {
        let attached = self.attachments.remove(worker);
        let held = self.give_up(worker, attached);
        let link = self.args.link.clone();
        self.leaving.spawn(async move {
            if let Some(credential) = held.await {
                let _ = calls::disconnect(&link, &credential).await;
            }
        });
    }

    /// Ends an attachment. Resolves with what it holds: also when the deployment gives it the token only now.
    fn give_up(
        &mut self,
        worker: &WorkerId,
        attached: Option<Attached>,
    ) -> Pending<Option<Credential>> {
        let held = self.held.remove(worker);
        let asked = attached.and_then(|attached| {
            attached.task.abort();
            let may_hold = attached.may_hold.load(Ordering::Relaxed) && held.is_none();
            may_hold.then_some(attached.token)
        });
        let asked = asked.map(|token| self.connect_again(token));
        Box::pin(async move {
            match asked {
                Some(asked) => asked.await,
                None => held,
            }
        })
    }

    /// The same start gets the same epoch again: whoever held it does not answer any more.
    fn connect_again(&self, token: Arc<WorkerToken>) -> Pending<Option<Credential>> {
        let mut identity = self.args.identity.clone();
        identity.take_over = false;
        let connections = self.args.connections.clone();
        let link = self.args.link.clone();
        Box::pin(async move {
            let store = connections.store_id(token.worker()).await.ok()?;
            let asked = calls::connect(&link, &token, &identity, store);
            let epoch = asked.await.ok()?.epoch;
            Some(Credential { token, epoch })
        })
    }

    pub(super) fn park(&mut self, token: &Arc<WorkerToken>) {
        let worker = token.worker();
        if let Some(attached) = self.attachments.remove(worker) {
            attached.task.abort();
        }
        self.held.remove(worker);
        if self.args.displaced.holds(worker) {
            return;
        }
        let connected = self.connect_again(token.clone());
        let link = self.args.link.clone();
        let parking = self.tasks.spawn(async move {
            if let Some(credential) = connected.await {
                close_claimed(link, credential).await;
            }
        });
        if let Some(former) = self.parking.insert(worker.clone(), parking) {
            former.abort();
        }
    }

    pub(super) fn shutdown(&mut self, flush_ms: u64, reply: oneshot::Sender<bool>) {
        info!(bridge = %self.args.url, "flushing");
        let attachments = std::mem::take(&mut self.attachments);
        let held: Vec<_> = attachments
            .into_iter()
            .map(|(worker, attached)| self.give_up(&worker, Some(attached)))
            .collect();
        let link = self.args.link.clone();
        let leaving = std::mem::take(&mut self.leaving);
        self.tasks.spawn(async move {
            let flushed = link.flush(flush_ms).await;
            let farewells = held.into_iter().map(async |held| {
                if let Some(credential) = held.await {
                    let _ = calls::disconnect(&link, &credential).await;
                }
            });
            let farewells = futures_util::future::join_all(farewells);
            let all = async { tokio::join!(farewells, leaving.finish()) };
            let _ = tokio::time::timeout(DISCONNECT, all).await;
            let _ = reply.send(flushed);
        });
    }
}

/// Nobody works on a parked worker's claimed turns any more, and nobody else could take them. What is queued waits.
async fn close_claimed(link: Arc<dyn Link>, credential: Credential) {
    // It may have another right than the worker had; and what is in the outbox comes first.
    if let Err(error) = link.replay(credential.clone()).await {
        warn!(worker = %credential.worker(), %error, "the outbox could not be delivered");
    }
    let (to, mut inbox) = mpsc::channel(1);
    link.watch("work:inbox", calls::inbox_args(&credential), to);
    let snapshot = inbox.recv().await.and_then(Result::ok);
    drop(inbox);
    let snapshot = snapshot.and_then(|value| serde_json::from_value::<Inbox>(value).ok());
    let (turns, sessions) =
        snapshot.map_or_else(Default::default, |inbox| (inbox.turns, inbox.sessions));
    let active = sessions
        .iter()
        .filter(|session| session.status == SessionStatus::Active);
    let reason = format!(
        "the worker crashed too often and is parked; `orchestrator restart worker/{}` gives it another chance",
        credential.worker()
    );
    let claimed = turns
        .into_iter()
        .filter(|turn| turn.state == OpenState::Claimed);
    let finishes = claimed.map(|turn| {
        // Nobody has asked the assistant's store: what it holds replaces this, later.
        let ending = Ending::because(Outcome::Failed, "parked", reason.clone()).provisionally();
        link.finish(turn.turn_id, credential.clone(), ending)
    });
    let idle = active.map(|session| {
        let (saying, session) = (Saying::Idle, &session.session_id);
        calls::set_status(&link, &credential, session, saying, None)
    });
    let idle = futures_util::future::join_all(idle);
    for result in futures_util::future::join_all(finishes).await {
        if let Err(error) = result {
            warn!(worker = %credential.worker(), %error, "a parked worker's turn stays open");
        }
    }
    // Nobody serves them any more; what was not taken is said by the worker's next start.
    let _ = idle.await;
    let _ = calls::disconnect(&link, &credential).await;
}
