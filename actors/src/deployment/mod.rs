//! The embedded deployment's place in the tree: follows its status behind a port and keeps its card.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{info, warn};

use crate::domain::phase::Phase;
use crate::ports::clock::Clock;
use crate::ports::embedded::{Embedded, EmbeddedStatus};
use crate::supervision::Tasks;
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable, CardGuard};

pub struct EmbeddedDeployment;

pub struct EmbeddedArgs {
    pub embedded: Arc<dyn Embedded>,
    pub clock: Arc<dyn Clock>,
    pub table: ActorTable,
    pub incarnation: u64,
}

pub struct EmbeddedState {
    args: EmbeddedArgs,
    _tasks: Tasks,
    _card: CardGuard,
}

pub enum EmbeddedMsg {
    /// The engine came up, went down, was started again, or cannot store.
    Changed(EmbeddedStatus),
}

impl Actor for EmbeddedDeployment {
    type Msg = EmbeddedMsg;
    type State = EmbeddedState;
    type Arguments = EmbeddedArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<EmbeddedMsg>,
        args: EmbeddedArgs,
    ) -> Result<EmbeddedState, ActorProcessingErr> {
        let key = ActorKey::deployment();
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::machine()),
            ActorKind::Deployment,
            args.embedded.url().as_str(),
        );
        card.detail = args.embedded.detail();
        card.incarnation = args.incarnation;
        card.since_ms = args.clock.wall_ms();
        // It serves before the tree is started.
        card.phase = Phase::Ready;
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key, args.incarnation);
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
        _: ActorRef<EmbeddedMsg>,
        EmbeddedMsg::Changed(status): EmbeddedMsg,
        state: &mut EmbeddedState,
    ) -> Result<(), ActorProcessingErr> {
        match &status.last_error {
            Some(error) if matches!(status.phase, Phase::Restarting | Phase::Failed) => {
                warn!(%error, "deployment");
            }
            _ => info!(phase = ?status.phase, restarts = status.restarts, "deployment"),
        }
        let now = state.args.clock.wall_ms();
        state.args.table.change(&ActorKey::deployment(), |card| {
            if card.phase != status.phase {
                card.since_ms = now;
            }
            card.phase = status.phase;
            card.restarts = status.restarts;
            card.last_error = status.last_error;
        });
        Ok(())
    }
}
