//! The embedded deployment's place in the tree: follows its status behind a port and keeps its card.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{info, warn};

use crate::domain::phase::Phase;
use crate::ports::clock::Clock;
use crate::ports::embedded::{Embedded, EmbeddedStatus};
#[cfg(debug_assertions)]
use crate::supervision::fault::Fault;
use crate::supervision::{Address, Envelope, Gauge, Named, Tasks};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable, CardGuard};

pub struct EmbeddedDeployment;

pub struct EmbeddedArgs {
    pub embedded: Arc<dyn Embedded>,
    pub clock: Arc<dyn Clock>,
    pub table: ActorTable,
    pub incarnation: u64,
    pub gauge: Gauge,
    /// Crashes of its predecessors.
    pub restarts: u32,
}

pub struct EmbeddedState {
    args: EmbeddedArgs,
    _tasks: Tasks,
    _card: CardGuard,
}

pub enum EmbeddedMsg {
    /// The engine came up, went down, was started again, or cannot store.
    Changed(EmbeddedStatus),
    #[cfg(debug_assertions)]
    /// Debug builds: do this wrong.
    Fault(Fault),
}

impl Named for EmbeddedMsg {
    fn name(&self) -> &'static str {
        match self {
            Self::Changed(_) => "Changed",
            #[cfg(debug_assertions)]
            Self::Fault(_) => "Fault",
        }
    }
}

impl Actor for EmbeddedDeployment {
    type Msg = Envelope<EmbeddedMsg>;
    type State = EmbeddedState;
    type Arguments = EmbeddedArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<EmbeddedMsg>>,
        args: EmbeddedArgs,
    ) -> Result<EmbeddedState, ActorProcessingErr> {
        let key = ActorKey::deployment();
        let myself = Address::new(myself, args.gauge.clone());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::machine()),
            ActorKind::Deployment,
            args.embedded.url().as_str(),
        );
        card.detail = args.embedded.detail();
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.clock.boottime_ms();
        // It serves before the tree is started.
        card.phase = Phase::Ready;
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        let mut tasks = Tasks::default();
        tasks.spawn(args.embedded.follow(Box::new(move |status| {
            let _ = myself.cast(EmbeddedMsg::Changed(status));
        })));
        Ok(EmbeddedState {
            args,
            _tasks: tasks,
            _card: guard,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<EmbeddedMsg>>,
        message: Envelope<EmbeddedMsg>,
        state: &mut EmbeddedState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        match message {
            EmbeddedMsg::Changed(status) => state.show(status),
            #[cfg(debug_assertions)]
            EmbeddedMsg::Fault(fault) => fault.strike(&ActorKey::deployment()).await?,
        }
        Ok(())
    }
}

impl EmbeddedState {
    fn show(&self, status: EmbeddedStatus) {
        match &status.last_error {
            Some(error) if matches!(status.phase, Phase::Restarting | Phase::Failed) => {
                warn!(%error, "deployment");
            }
            _ => info!(phase = ?status.phase, restarts = status.restarts, "deployment"),
        }
        let now = self.args.clock.boottime_ms();
        self.args.table.change(&ActorKey::deployment(), |card| {
            if card.phase != status.phase {
                card.since_ms = now;
            }
            card.phase = status.phase;
            card.restarts = self.args.restarts + status.restarts;
            card.last_error = status.last_error;
        });
    }
}
