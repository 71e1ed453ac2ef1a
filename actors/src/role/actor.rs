//! The actor: one arm per message.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{info, warn};

use super::messages::RoleMsg;
use super::state::{RoleArgs, RoleState};
use crate::domain::assistant::{AgentError, ExitReport};
use crate::domain::phase::Phase;
use crate::ports::role::{Player, RoleSpec};
use crate::supervision::{Address, Envelope, Tasks};
use crate::table::{ActorCard, ActorKey, ActorKind, ActorTable, CardGuard};
use crate::worker::{RoleNews, WorkerMsg};

/// A child that lives so long has understood its arguments, its configuration and its login.
const STEADY: Duration = Duration::from_secs(1);
/// A stop ends and kills, all of it within this time; then the lifeline is closed instead.
const STOP: Duration = Duration::from_secs(30);
/// How often the child's memory is looked at.
const MEMORY: Duration = Duration::from_secs(1);
/// How many of a failed child's last lines its error shows.
const SHOWN_LINES: usize = 8;

pub struct RoleActor;

impl Actor for RoleActor {
    type Msg = Envelope<RoleMsg>;
    type State = RoleState;
    type Arguments = RoleArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<RoleMsg>>,
        args: RoleArgs,
    ) -> Result<RoleState, ActorProcessingErr> {
        let key = ActorKey::role(args.worker.id(), &args.casting.part);
        let myself = Address::new(myself, args.gauge.clone());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(args.worker.id())),
            ActorKind::Role,
            args.casting.part.to_string(),
        );
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.ports.clock.boottime_ms();
        card.detail.clone_from(&args.casting.tool);
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        let mut state = RoleState {
            args,
            key,
            myself,
            player: None,
            starting: None,
            stopping: false,
            tasks: Tasks::default(),
            _card: guard,
        };
        state.begin();
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<RoleMsg>>,
        message: Envelope<RoleMsg>,
        state: &mut RoleState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        match message {
            RoleMsg::Started(result) => state.started(result)?,
            RoleMsg::Steadied => state.tell(RoleNews::Steady),
            RoleMsg::Exited(report) => state.exited(&report)?,
            RoleMsg::Stop => state.stop(),
            #[cfg(debug_assertions)]
            RoleMsg::Fault(fault) => fault.strike(&state.key).await?,
        }
        Ok(())
    }
}

impl RoleState {
    fn begin(&mut self) {
        let spec = RoleSpec {
            worker: self.args.worker.id().clone(),
            casting: (*self.args.casting).clone(),
            inside: self.args.worker.directory.clone(),
        };
        let started = self.args.ports.roles.start(spec);
        let myself = self.myself.clone();
        self.starting = Some(self.tasks.spawn(async move {
            let _ = myself.cast(RoleMsg::Started(started.await));
        }));
    }

    fn started(
        &mut self,
        result: Result<Box<dyn Player>, AgentError>,
    ) -> Result<(), ActorProcessingErr> {
        // A late child is dropped here, and with it its lifeline.
        if self.starting.take().is_none() || self.stopping {
            return Ok(());
        }
        let player: Arc<dyn Player> = Arc::from(result.map_err(|error| error.to_string())?);
        let pid = player.pid();
        self.args.table.counters().assistant();
        info!(part = %self.args.casting.part, tool = self.args.casting.tool, pid, "assistant started for a role");
        let exited = player.exited();
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            let _ = myself.cast(RoleMsg::Exited(exited.await));
        });
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(STEADY).await;
            let _ = myself.cast(RoleMsg::Steadied);
        });
        let (table, key) = (self.args.table.clone(), self.key.clone());
        self.tasks
            .spawn(sample_memory(Arc::downgrade(&player), table, key));
        self.player = Some(player);
        self.show(Phase::Active, Some(pid));
        Ok(())
    }

    fn exited(&mut self, report: &ExitReport) -> Result<(), ActorProcessingErr> {
        self.player = None;
        if self.stopping || report.code == Some(0) {
            self.myself.stop();
            return Ok(());
        }
        let error = told(&self.args.casting.tool, report);
        warn!(part = %self.args.casting.part, error, "assistant of a role ended");
        Err(error.into())
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        let Some(player) = &self.player else {
            // Dropping the start ends what it has begun.
            if let Some(starting) = self.starting.take() {
                starting.abort();
            }
            self.myself.stop();
            return;
        };
        self.show(Phase::Stopping, Some(player.pid()));
        let stop = player.stop();
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            if tokio::time::timeout(STOP, stop).await.is_err() {
                warn!("the stop of a role's assistant does not end; its lifeline is closed");
                let _ = myself.cast(RoleMsg::Exited(ExitReport::default()));
            }
        });
    }

    fn tell(&self, news: RoleNews) {
        let part = self.args.casting.part.clone();
        let _ = self.args.parent.cast(WorkerMsg::Role(part, news));
    }

    fn show(&self, phase: Phase, pid: Option<u32>) {
        let now = self.args.ports.clock.boottime_ms();
        self.args.table.change(&self.key, |card| {
            if card.incarnation == self.args.incarnation {
                card.since_ms = now;
                card.phase = phase;
                card.agent_pid = pid;
            }
        });
    }
}

/// How a child ended that was not to end, for people.
fn told(tool: &str, report: &ExitReport) -> String {
    let ending = match (report.code, report.signal, &report.why) {
        (_, _, Some(why)) => why.clone(),
        (Some(code), _, _) => format!("{tool} ended with exit code {code}"),
        (_, Some(signal), _) => format!("{tool} was ended by signal {signal}"),
        _ => format!("{tool} ended"),
    };
    let lines = &report.last_lines;
    let words: Vec<&str> = lines[lines.len().saturating_sub(SHOWN_LINES)..]
        .iter()
        .map(String::as_str)
        .filter(|line| !line.trim().is_empty())
        .collect();
    if words.is_empty() {
        return ending;
    }
    format!("{ending}; its last lines:\n{}", words.join("\n"))
}

/// Keeps the memory figure of the card fresh while the child lives.
async fn sample_memory(player: Weak<dyn Player>, table: ActorTable, key: ActorKey) {
    let mut interval = tokio::time::interval(MEMORY);
    loop {
        interval.tick().await;
        let Some(player) = player.upgrade() else {
            return;
        };
        let (pid, rss) = (player.pid(), player.rss_bytes());
        table.change(&key, |card| {
            if card.agent_pid == Some(pid) {
                card.agent_rss_bytes = Some(rss);
            }
        });
    }
}
