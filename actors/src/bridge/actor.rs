//! The actor: attachments and the drive task, all of them ended with its state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;

use super::attachment::Attachment;
use super::messages::{Attach, BridgeMsg};
use crate::domain::ids::{DeploymentUrl, WorkerId};
use crate::domain::phase::Phase;
use crate::domain::token::WorkerToken;
use crate::machine::{Connections, Displaced, Settings, StartIdentity};
use crate::ports::clock::Clock;
use crate::ports::link::{Credential, Link, LinkPhase};
use crate::supervision::{Address, Envelope, Gauge, Tasks};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable, CardGuard};

/// How often the link's state is copied to the bridge's card.
const SHOW: Duration = Duration::from_millis(250);

pub struct BridgeArgs {
    pub url: DeploymentUrl,
    pub link: Arc<dyn Link>,
    pub connections: Connections,
    pub clock: Arc<dyn Clock>,
    pub identity: StartIdentity,
    pub settings: Settings,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    pub restarts: u32,
    /// The workers that it serves.
    pub attached: Vec<Attach>,
    /// The workers that crashed too often: its predecessor may not have closed their turns.
    pub parked: Vec<Arc<WorkerToken>>,
    pub displaced: Displaced,
}

pub struct BridgeState {
    pub(super) args: BridgeArgs,
    myself: Address<BridgeMsg>,
    pub(super) attachments: BTreeMap<WorkerId, Attached>,
    pub(super) held: BTreeMap<WorkerId, Credential>,
    /// What closes the turns of parked workers.
    pub(super) parking: BTreeMap<WorkerId, AbortHandle>,
    /// Workers that were connected once: a takeover that was asked for is done.
    taken: BTreeSet<WorkerId>,
    /// Workers that are let go of: the token is on its way back.
    pub(super) leaving: Tasks,
    pub(super) tasks: Tasks,
    _card: CardGuard,
}

/// One worker's attachment under way.
pub(super) struct Attached {
    pub token: Arc<WorkerToken>,
    pub task: AbortHandle,
    /// The deployment may have given it the token, whether the bridge has heard of it or not.
    pub may_hold: Arc<AtomicBool>,
}

pub struct ConvexBridge;

impl Actor for ConvexBridge {
    type Msg = Envelope<BridgeMsg>;
    type State = BridgeState;
    type Arguments = BridgeArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<BridgeMsg>>,
        mut args: BridgeArgs,
    ) -> Result<BridgeState, ActorProcessingErr> {
        let key = ActorKey::bridge(&args.url);
        let myself = Address::new(myself, args.gauge.clone());
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
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        let attached = std::mem::take(&mut args.attached);
        let parked = std::mem::take(&mut args.parked);
        let mut state = BridgeState {
            args,
            myself: myself.clone(),
            attachments: BTreeMap::new(),
            held: BTreeMap::new(),
            parking: BTreeMap::new(),
            taken: BTreeSet::new(),
            leaving: Tasks::default(),
            tasks: Tasks::default(),
            _card: guard,
        };
        state.drive(&myself);
        for attach in attached {
            state.attach(&myself, attach);
        }
        for token in parked {
            state.park(&token);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<BridgeMsg>>,
        message: Envelope<BridgeMsg>,
        state: &mut BridgeState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        let myself = state.myself.clone();
        match message {
            BridgeMsg::Attach(attach) => state.attach(&myself, attach),
            BridgeMsg::Detach(worker) => state.detach(&worker),
            BridgeMsg::Park(token) => state.park(&token),
            BridgeMsg::Holds(worker, credential) => state.holds(worker, credential),
            BridgeMsg::DriveEnded(down) => return Err(down.0.into()),
            BridgeMsg::Shutdown { flush_ms, reply } => state.shutdown(flush_ms, reply),
            #[cfg(debug_assertions)]
            BridgeMsg::Fault(fault) => fault.strike(&ActorKey::bridge(&state.args.url)).await?,
        }
        Ok(())
    }
}

impl BridgeState {
    fn drive(&mut self, myself: &Address<BridgeMsg>) {
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

    fn attach(&mut self, myself: &Address<BridgeMsg>, attach: Attach) {
        let worker = attach.token.worker().clone();
        let mut identity = self.args.identity.clone();
        identity.take_over &= !self.taken.contains(&worker);
        let token = attach.token.clone();
        let may_hold = Arc::new(AtomicBool::new(false));
        let attachment = Attachment {
            attach,
            may_hold: may_hold.clone(),
            bridge: myself.clone(),
            link: self.args.link.clone(),
            connections: self.args.connections.clone(),
            identity,
            beat: Duration::from_millis(self.args.settings.beat_ms),
            displaced: self.args.displaced.clone(),
        };
        let task = self.tasks.spawn(attachment.run());
        let attached = Attached {
            token,
            task,
            may_hold,
        };
        // A person has given it another chance: what waits to close its turns for good must not.
        if let Some(parking) = self.parking.remove(&worker) {
            parking.abort();
        }
        if let Some(old) = self.attachments.insert(worker, attached) {
            old.task.abort();
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
}

fn phase(phase: LinkPhase) -> Phase {
    match phase {
        LinkPhase::Connecting => Phase::Connecting,
        LinkPhase::Synced => Phase::Synced,
        LinkPhase::Offline => Phase::Offline,
    }
}
