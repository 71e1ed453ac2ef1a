//! What owners ask of this machine from afar: taken from the deployment, carried out, ended there with a result or a
//! reason. The first supervisor that takes one has it; each is in hand from the moment it is asked for until its end is
//! acknowledged, so no snapshot, however old, makes it run twice.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::{info, warn};

use super::messages::{CommandMsg, WorkerMsg};
use super::state::WorkerState;
use crate::calls::{self, Taken};
use crate::domain::command::{Order, Refused, Todo, todo};
use crate::domain::ids::CommandId;
use crate::supervision::Address;
use crate::table::{ActorCard, ActorKey, ActorKind};

/// A call that did not get through is made again after this time.
const AGAIN: Duration = Duration::from_secs(2);

/// What `commands:ack` takes; a longer tree is told as far as it fits.
const RESULT_CHARS: usize = 16_000;

impl WorkerState {
    /// Takes what nobody has, ends what a predecessor of this actor had taken.
    pub(super) fn take_commands(&mut self, myself: &Address<WorkerMsg>) {
        if self.stopping {
            return;
        }
        let Some(inbox) = &self.inbox else { return };
        for todo in todo(&inbox.commands, &self.in_hand) {
            match todo {
                Todo::Take(command) => self.take(myself, command),
                Todo::GiveUp(command) => {
                    self.in_hand.insert(command.clone());
                    let reason = "what carried the command out crashed before it reported a result";
                    self.end(myself, command, Err(Refused::new("crashed", reason)));
                }
            }
        }
    }

    fn take(&mut self, myself: &Address<WorkerMsg>, command: CommandId) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        self.in_hand.insert(command.clone());
        let (link, myself) = (self.args.link.clone(), myself.clone());
        self.tasks.spawn(async move {
            let message = loop {
                match calls::take_command(&link, &credential, &command).await {
                    Ok(Taken::Ours(order)) => break CommandMsg::Taken(command, order),
                    Ok(Taken::Passed) => break CommandMsg::Over(command),
                    Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
                    Err(error) => {
                        warn!(%command, %error, "a command could not be taken");
                        break CommandMsg::Over(command);
                    }
                }
            };
            let _ = myself.cast(WorkerMsg::Command(message));
        });
    }

    pub(super) async fn command(&mut self, myself: &Address<WorkerMsg>, message: CommandMsg) {
        match message {
            CommandMsg::Over(command) => {
                self.in_hand.remove(&command);
                self.stop_when_empty(myself);
            }
            CommandMsg::Leave => {
                self.in_hand.clear();
                self.stop_when_empty(myself);
            }
            CommandMsg::Taken(command, order) => {
                info!(%command, what = name_of(&order), "command taken");
                self.carry_out(myself, command, order).await;
            }
        }
    }

    async fn carry_out(
        &mut self,
        myself: &Address<WorkerMsg>,
        command: CommandId,
        order: Result<Order, Refused>,
    ) {
        match order {
            Ok(Order::Ping) => self.end(myself, command, Ok("pong".to_owned())),
            Ok(Order::Status) => {
                let tree = self.tree().to_string();
                self.end(myself, command, Ok(tree));
            }
            Ok(Order::Start(casting)) => self.start_role(myself, command, casting).await,
            Ok(Order::Stop(part)) => self.stop_role(myself, command, &part),
            Err(refused) => self.end(myself, command, Err(refused)),
        }
    }

    /// Writes the result down. It is in hand until that is acknowledged.
    pub(super) fn end(
        &mut self,
        myself: &Address<WorkerMsg>,
        command: CommandId,
        result: Result<String, Refused>,
    ) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        let (link, myself) = (self.args.link.clone(), myself.clone());
        self.tasks.spawn(async move {
            loop {
                match calls::end_command(&link, &credential, &command, &result).await {
                    Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
                    Err(error) => {
                        warn!(%command, %error, "a command's result was refused");
                        break;
                    }
                    Ok(()) => break,
                }
            }
            let _ = myself.cast(WorkerMsg::Command(CommandMsg::Over(command)));
        });
    }

    /// What the command's owner may see: the workers of the machine that it was sent to, which is theirs, and what is
    /// below them. This supervisor may serve workers of other machines, and so of other owners, at the same deployment.
    fn tree(&self) -> Value {
        let cards = self.args.table.snapshot();
        let spec = &self.args.spec;
        let url = Some(spec.url.to_string());
        let machine = Some(spec.token.machine().to_string());
        let is_ours = |card: &ActorCard| {
            card.kind == ActorKind::Worker && card.deployment == url && card.machine == machine
        };
        let mut length = 0;
        let mut rows: Vec<Value> = Vec::new();
        let mut left_out = 0;
        for worker in cards.iter().filter(|card| is_ours(card)) {
            let below = cards
                .iter()
                .filter(|card| card.parent.as_ref() == Some(&worker.key));
            for card in std::iter::once(worker).chain(below) {
                let row = self.row(card);
                length += row.to_string().len() + 1;
                if length > RESULT_CHARS - 200 {
                    left_out += 1;
                } else {
                    rows.push(row);
                }
            }
        }
        json!({ "schema": 1, "actors": rows, "leftOut": left_out })
    }

    fn row(&self, card: &ActorCard) -> Value {
        let age = self.args.ports.clock.boottime_ms();
        json!({
            "key": card.key, "name": card.name, "phase": card.phase, "detail": card.detail,
            "restarts": card.restarts, "ageMs": age.saturating_sub(card.since_ms), "lastError": card.last_error,
        })
    }

    pub(super) fn worker_key(&self) -> ActorKey {
        ActorKey::worker(self.args.spec.id())
    }
}

/// For the log, which has no use for a prompt.
fn name_of(order: &Result<Order, Refused>) -> &'static str {
    match order {
        Ok(Order::Ping) => "ping",
        Ok(Order::Status) => "status",
        Ok(Order::Start(_)) => "start-agent",
        Ok(Order::Stop(_)) => "stop-agent",
        Err(_) => "refused",
    }
}
