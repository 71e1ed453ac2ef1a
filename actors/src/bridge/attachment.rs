//! One worker's side of a bridge: connect, deliver what the outbox holds, watch the inbox, beat. A task of the
//! bridge; it ends with the bridge, and the next one starts from nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use super::messages::{Attach, BridgeMsg};
use crate::calls;
use crate::domain::call::CallError;
use crate::domain::inbox::{Inbox, WorkerState};
use crate::domain::phase::Phase;
use crate::machine::{Connections, Displaced, StartIdentity};
use crate::ports::link::{Credential, Link};
use crate::supervision::Address;
use crate::worker::{DISPLACED, Standing, WorkerMsg};

/// Our own word: the assistant's store cannot be named just now.
const NO_STORE: &str = "store";

/// The deployment's word for a worker that its owner removed, for good.
const REMOVED: &str = "removed";

/// A refused worker asks again after this time: its owner may have changed something.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Displaced again within this time, somebody else insists: longer than the deployment takes a silent holder for alive.
const QUARREL: Duration = Duration::from_secs(40);

pub(super) struct Attachment {
    pub attach: Attach,
    pub bridge: Address<BridgeMsg>,
    pub link: Arc<dyn Link>,
    pub connections: Connections,
    pub identity: StartIdentity,
    pub beat: Duration,
    pub displaced: Displaced,
    /// Whether the deployment may have given it the token.
    pub may_hold: Arc<AtomicBool>,
}

/// Why a watch ended.
enum Over {
    /// The epoch is not the present one.
    Displaced,
    /// Ask for a new epoch, now or later.
    Again(Duration),
}

impl Attachment {
    pub async fn run(mut self) {
        let worker = self.attach.token.worker().clone();
        if self.displaced.holds(&worker) {
            return self.stand_displaced();
        }
        // The epoch also rises when the owner revokes and approves again, which a supervisor that was away sees only as a
        // newer epoch. So it asks once more, without insisting: whoever took the token over holds it now. A machine that runs
        // twice under one name (an image, a clone) is let in each time; the two must not take the token from each other for ever.
        let mut displaced: Option<Instant> = None;
        loop {
            let pause = match self.connect().await {
                Ok(credential) => match self.serve(credential).await {
                    Over::Displaced if displaced.is_some_and(|at| at.elapsed() < QUARREL) => {
                        self.displaced.add(worker);
                        return self.stand_displaced();
                    }
                    Over::Displaced => {
                        displaced = Some(Instant::now());
                        Duration::ZERO
                    }
                    Over::Again(pause) => {
                        displaced = None;
                        pause
                    }
                },
                Err(error) if displaced.is_some() && error.code() == "held" => {
                    self.displaced.add(worker);
                    return self.stand_displaced();
                }
                Err(error) => {
                    self.refused(&error);
                    if error.code() == REMOVED {
                        self.give_up_outbox().await;
                    }
                    ASK_AGAIN
                }
            };
            self.may_hold.store(false, Ordering::Relaxed);
            let _ = self.bridge.cast(BridgeMsg::Holds(worker.clone(), None));
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect(&mut self) -> Result<Credential, CallError> {
        let worker = self.attach.token.worker();
        let store_id = self.connections.store_id(worker).await;
        let store_id = store_id.map_err(|error| CallError::Refused {
            code: NO_STORE.to_owned(),
            message: format!("the assistant's store cannot be named: {error}"),
        })?;
        let asked = calls::connect(
            &self.link,
            &self.attach.token,
            &self.identity,
            store_id.clone(),
        );
        self.may_hold.store(true, Ordering::Relaxed);
        let connected = asked.await;
        self.may_hold.store(connected.is_ok(), Ordering::Relaxed);
        let connected = connected?;
        self.connections.connected_with(worker, store_id);
        // A takeover is asked for once; later it would fight over the token for ever.
        self.identity.take_over = false;
        info!(worker = %self.attach.token.worker(), epoch = connected.epoch, "worker connected");
        Ok(Credential {
            token: self.attach.token.clone(),
            epoch: connected.epoch,
        })
    }

    fn refused(&self, error: &CallError) {
        let phase = match error.code() {
            "revoked" | REMOVED => Phase::Revoked,
            // Asked again soon: nobody may take a passing trouble for the end.
            NO_STORE => Phase::Starting,
            _ if error.is_transient() => Phase::Starting,
            _ => Phase::Failed,
        };
        warn!(worker = %self.attach.token.worker(), code = error.code(), %error, "worker refused");
        self.stand(phase, refusal(error));
    }

    /// What the outbox holds of a removed worker is offered once more, under no epoch: each finish is refused for good, and
    /// forgotten with it.
    async fn give_up_outbox(&self) {
        let nobody = Credential {
            token: self.attach.token.clone(),
            epoch: 0,
        };
        if let Err(error) = self.link.replay(nobody).await {
            warn!(worker = %self.attach.token.worker(), %error, "finishes of a removed worker stay in the outbox");
        }
    }

    fn stand_displaced(&self) {
        let _ = self
            .bridge
            .cast(BridgeMsg::Holds(self.attach.token.worker().clone(), None));
        self.stand(Phase::Displaced, DISPLACED.to_owned());
    }

    fn stand(&self, phase: Phase, detail: String) {
        let _ = self
            .attach
            .worker
            .cast(WorkerMsg::Standing(Standing { phase, detail }));
    }

    async fn serve(&self, credential: Credential) -> Over {
        if let Err(error) = self.link.replay(credential.clone()).await {
            warn!(worker = %credential.worker(), %error, "the outbox could not be delivered");
        }
        let _ = self.bridge.cast(BridgeMsg::Holds(
            credential.worker().clone(),
            Some(credential.clone()),
        ));
        let _ = self
            .attach
            .worker
            .cast(WorkerMsg::Connected(credential.clone()));
        let (to, inbox) = mpsc::channel(4);
        self.link
            .watch("work:inbox", calls::inbox_args(&credential), to);
        tokio::select! {
            over = self.watch(inbox) => over,
            over = self.keep_beating(&credential) => over,
        }
    }

    async fn watch(&self, mut inbox: mpsc::Receiver<Result<Value, CallError>>) -> Over {
        let mut revoked = false;
        while let Some(value) = inbox.recv().await {
            let snapshot = value.and_then(|value| {
                serde_json::from_value::<Inbox>(value).map_err(|error| {
                    CallError::Server(format!("work:inbox answered in an unknown form: {error}"))
                })
            });
            match snapshot {
                // Revoking ends the epoch: an approval after it needs a new one.
                Ok(snapshot) if revoked && snapshot.state == WorkerState::Approved => {
                    return Over::Again(Duration::ZERO);
                }
                Ok(snapshot) => {
                    let displaced = snapshot.displaced && snapshot.state == WorkerState::Approved;
                    let removed = snapshot.state == WorkerState::Removed;
                    revoked = snapshot.state == WorkerState::Revoked;
                    let _ = self.attach.worker.cast(WorkerMsg::Snapshot(snapshot));
                    if removed {
                        // Asked once more, it says why.
                        return Over::Again(Duration::ZERO);
                    }
                    if displaced {
                        return Over::Displaced;
                    }
                }
                Err(error) => {
                    self.stand(Phase::Failed, refusal(&error));
                    return Over::Again(ASK_AGAIN);
                }
            }
        }
        Over::Again(ASK_AGAIN)
    }

    /// One beat at a time: while the deployment is away, none piles up.
    async fn keep_beating(&self, credential: &Credential) -> Over {
        loop {
            tokio::time::sleep(self.beat).await;
            if let Err(error) = calls::beat(&self.link, credential).await {
                // What it means is said by the inbox.
                tracing::debug!(worker = %credential.worker(), %error, "beat refused");
            }
        }
    }
}

/// What the deployment says, and how to do here what it advises.
fn refusal(error: &CallError) -> String {
    match error.code() {
        "held" => {
            format!("{error}: stop that one, or start this one with `--take-over`")
        }
        _ => error.to_string(),
    }
}
