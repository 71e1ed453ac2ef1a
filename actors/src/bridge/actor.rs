//! The actor: attachments and the drive task, all of them ended with its state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::attachment::Attachment;
use super::messages::{Attach, BridgeMsg};
use crate::calls;
use crate::domain::ids::{DeploymentUrl, WorkerId};
use crate::domain::inbox::{Inbox, OpenState};
use crate::domain::phase::Phase;
use crate::domain::turn::{Ending, Outcome};
use crate::machine::{Settings, StartIdentity, Stores};
use crate::ports::clock::Clock;
use crate::ports::link::{Credential, Link, LinkPhase};
use crate::supervision::Tasks;
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable, CardGuard};

/// How often the link's state is copied to the bridge's card.
const SHOW: Duration = Duration::from_millis(250);

pub struct BridgeArgs {
    pub url: DeploymentUrl,
    pub link: Arc<dyn Link>,
    pub stores: Arc<dyn Stores>,
    pub clock: Arc<dyn Clock>,
    pub identity: StartIdentity,
    pub settings: Settings,
    pub table: ActorTable,
    pub incarnation: u64,
    pub restarts: u32,
    /// The workers that were attached to its predecessor.
    pub attached: Vec<Attach>,
}

pub struct BridgeState {
    args: BridgeArgs,
    attachments: BTreeMap<WorkerId, AbortHandle>,
    held: BTreeMap<WorkerId, Credential>,
    /// Workers that were connected once: a takeover that was asked for is done.
    taken: BTreeSet<WorkerId>,
    tasks: Tasks,
    _card: CardGuard,
}

pub struct ConvexBridge;

impl Actor for ConvexBridge {
    type Msg = BridgeMsg;
    type State = BridgeState;
    type Arguments = BridgeArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<BridgeMsg>,
        mut args: BridgeArgs,
    ) -> Result<BridgeState, ActorProcessingErr> {
        let key = ActorKey::bridge(&args.url);
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::machine()),
            ActorKind::Bridge,
            args.url.as_str(),
        );
        card.phase = Phase::Connecting;
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.clock.boottime_ms();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key, args.incarnation);
        let attached = std::mem::take(&mut args.attached);
        let mut state = BridgeState {
            args,
            attachments: BTreeMap::new(),
            held: BTreeMap::new(),
            taken: BTreeSet::new(),
            tasks: Tasks::default(),
            _card: guard,
        };
        state.drive(&myself);
        for attach in attached {
            state.attach(&myself, attach);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<BridgeMsg>,
        message: BridgeMsg,
        state: &mut BridgeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BridgeMsg::Attach(attach) => state.attach(&myself, attach),
            BridgeMsg::Detach(worker) => state.detach(&worker),
            BridgeMsg::Park(worker) => state.park(&worker),
            BridgeMsg::Holds(worker, credential) => state.holds(worker, credential),
            BridgeMsg::DriveEnded(down) => return Err(down.0.into()),
            BridgeMsg::Shutdown { flush_ms, reply } => state.shutdown(flush_ms, reply),
            #[cfg(debug_assertions)]
            BridgeMsg::Panic => {
                panic!("a panic was injected into the bridge to {}", state.args.url)
            }
        }
        Ok(())
    }
}

impl BridgeState {
    fn drive(&mut self, myself: &ActorRef<BridgeMsg>) {
        let driving = self.args.link.drive();
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let down = driving.await;
            let _ = myself.cast(BridgeMsg::DriveEnded(down));
        });
        let (link, table) = (self.args.link.clone(), self.args.table.clone());
        let (key, clock) = (ActorKey::bridge(&self.args.url), self.args.clock.clone());
        self.tasks.spawn(async move {
            let mut interval = tokio::time::interval(SHOW);
            let mut shown = None;
            loop {
                interval.tick().await;
                let status = link.status();
                if shown.as_ref() == Some(&status) {
                    continue;
                }
                table.change(&key, |card| {
                    let phase = phase(status.phase);
                    if card.phase != phase {
                        card.since_ms = clock.boottime_ms();
                    }
                    card.phase = phase;
                    card.detail = match status.rtt_us {
                        Some(us) if status.phase == LinkPhase::Synced => {
                            format!("rtt {}.{} ms", us / 1_000, us % 1_000 / 100)
                        }
                        _ if status.attempts > 0 => format!("attempt {}", status.attempts),
                        _ => String::new(),
                    };
                    card.last_error.clone_from(&status.last_error);
                });
                shown = Some(status);
            }
        });
    }

    fn attach(&mut self, myself: &ActorRef<BridgeMsg>, attach: Attach) {
        let worker = attach.token.worker().clone();
        let mut identity = self.args.identity.clone();
        identity.take_over &= !self.taken.contains(&worker);
        let attachment = Attachment {
            attach,
            bridge: myself.clone(),
            link: self.args.link.clone(),
            stores: self.args.stores.clone(),
            identity,
            beat: Duration::from_millis(self.args.settings.beat_ms),
        };
        let task = self.tasks.spawn(attachment.run());
        if let Some(old) = self.attachments.insert(worker, task) {
            old.abort();
        }
    }

    fn detach(&mut self, worker: &WorkerId) {
        if let Some(task) = self.attachments.remove(worker) {
            task.abort();
        }
        if let Some(credential) = self.held.remove(worker) {
            let answer = calls::disconnect(&self.args.link, &credential);
            self.tasks.spawn(async move {
                let _ = answer.await;
            });
        }
    }

    fn park(&mut self, worker: &WorkerId) {
        if let Some(task) = self.attachments.remove(worker) {
            task.abort();
        }
        if let Some(credential) = self.held.remove(worker) {
            self.tasks
                .spawn(close_claimed(self.args.link.clone(), credential));
        }
    }

    fn holds(&mut self, worker: WorkerId, credential: Option<Credential>) {
        match credential {
            Some(credential) => {
                self.taken.insert(worker.clone());
                self.held.insert(worker, credential)
            }
            None => self.held.remove(&worker),
        };
    }

    fn shutdown(&mut self, flush_ms: u64, reply: oneshot::Sender<bool>) {
        info!(bridge = %self.args.url, "flushing");
        for task in std::mem::take(&mut self.attachments).into_values() {
            task.abort();
        }
        let link = self.args.link.clone();
        let held = std::mem::take(&mut self.held);
        self.tasks.spawn(async move {
            let flushed = link.flush(flush_ms).await;
            let farewells = held
                .values()
                .map(|credential| calls::disconnect(&link, credential));
            let _ =
                tokio::time::timeout(DISCONNECT, futures_util::future::join_all(farewells)).await;
            let _ = reply.send(flushed);
        });
    }
}

/// Nobody works on a parked worker's claimed turns any more, and nobody else could take them. What is queued waits.
async fn close_claimed(link: Arc<dyn Link>, credential: Credential) {
    let (to, mut inbox) = mpsc::channel(1);
    link.watch("work:inbox", calls::inbox_args(&credential), to);
    let snapshot = inbox.recv().await.and_then(Result::ok);
    drop(inbox);
    let turns = snapshot
        .and_then(|value| serde_json::from_value::<Inbox>(value).ok())
        .map_or_else(Vec::new, |inbox| inbox.turns);
    let reason = format!(
        "the worker crashed too often and is parked; `orchestrator restart worker/{}` gives it another chance",
        credential.worker()
    );
    let claimed = turns
        .into_iter()
        .filter(|turn| turn.state == OpenState::Claimed);
    let finishes = claimed.map(|turn| {
        let ending = Ending::because(Outcome::Failed, "parked", reason.clone());
        link.finish(turn.turn_id, credential.clone(), ending)
    });
    for result in futures_util::future::join_all(finishes).await {
        if let Err(error) = result {
            warn!(worker = %credential.worker(), %error, "a parked worker's turn stays open");
        }
    }
    let _ = calls::disconnect(&link, &credential).await;
}

/// What the farewell may take; a deployment that is away learns of it from the missing beats.
const DISCONNECT: Duration = Duration::from_millis(500);

fn phase(phase: LinkPhase) -> Phase {
    match phase {
        LinkPhase::Connecting => Phase::Connecting,
        LinkPhase::Synced => Phase::Synced,
        LinkPhase::Offline => Phase::Offline,
    }
}
