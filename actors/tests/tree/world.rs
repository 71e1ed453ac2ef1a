//! A machine with one or two workers over the fakes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, MachineId, WorkerDir, WorkerId};
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::machine::{
    self, Desired, MachineArgs, MachineHandle, Ports, Settings, StartIdentity, Stores, WorkerSpec,
};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::clock::Clock;
use orchestrator_actors::ports::outbox::{FinishRecord, Outbox, OutboxError};
use orchestrator_actors::table::{ActorCard, ActorKey};

use crate::fake_agent::FakeAgents;
use crate::fake_deployment::FakeDeployment;

pub struct World {
    pub deployment: FakeDeployment,
    pub agents: FakeAgents,
    pub machine: MachineHandle,
}

impl World {
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    pub async fn start_as(take_over: bool) -> Self {
        let deployment = FakeDeployment::new();
        let agents = FakeAgents::default();
        let ports = Ports {
            agents: Arc::new(agents.clone()),
            links: Arc::new(deployment.clone()),
            outbox: Arc::new(NoOutbox),
            clock: Arc::new(PausedClock(tokio::time::Instant::now())),
            stores: Arc::new(OneStore),
        };
        let identity = StartIdentity {
            install_id: "install".to_owned(),
            start_id: "start".to_owned(),
            boot_id: "boot".to_owned(),
            hostname: "host".to_owned(),
            os: "linux".to_owned(),
            tools: Vec::new(),
            take_over,
        };
        let args = MachineArgs {
            name: "host".to_owned(),
            machine_id: MachineId::from("m"),
            ports,
            desired: Desired {
                workers: vec![spec("w", 300_000)],
            },
            settings: Settings::default(),
            identity,
            deployment: None,
        };
        let machine = machine::start(args).await.expect("the machine starts");
        machine.started(Duration::from_secs(5)).await;
        Self {
            deployment,
            agents,
            machine,
        }
    }

    pub fn card(&self, key: &str) -> Option<ActorCard> {
        self.machine.table().get(&ActorKey::parse(key))
    }

    pub async fn until_card(&self, key: &str, holds: impl Fn(&ActorCard) -> bool) -> ActorCard {
        let table = self.machine.table();
        let mut changes = table.changes();
        let wait = async {
            loop {
                if let Some(card) = table.get(&ActorKey::parse(key)).filter(|card| holds(card)) {
                    return card;
                }
                changes.changed().await.expect("the table lives");
            }
        };
        let limit = Duration::from_mins(10);
        tokio::time::timeout(limit, wait)
            .await
            .unwrap_or_else(|_| panic!("{key} stays {:?}", table.get(&ActorKey::parse(key))))
    }

    /// Brings a session to where its assistant has said `text`.
    pub async fn streaming(&self, session: &str, turn: &str, text: &str) {
        self.deployment.send(session, turn);
        self.until_card(&format!("session/{session}"), |card| {
            card.phase == Phase::Active
        })
        .await;
        while self.agents.deliveries(turn) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.agents.say(session, turn, text).await;
        self.deployment
            .until("text arrives", |d| d.turn(turn).text == text)
            .await;
    }

    pub async fn stop(self) {
        self.machine.stop(Duration::from_mins(1)).await;
        assert_eq!(self.agents.alive(), 0, "a child is left behind");
    }
}

pub fn spec(id: &str, idle_timeout_ms: u64) -> WorkerSpec {
    WorkerSpec {
        name: id.to_owned(),
        token: Arc::new(
            WorkerToken::parse(&format!("machine_m:worker_{id}:secret_s")).expect("a token"),
        ),
        directory: WorkerDir::canonical(PathBuf::from("/w")),
        url: DeploymentUrl::from("http://127.0.0.1:1"),
        idle_timeout_ms,
        max_sessions: 4,
        broken: None,
    }
}

/// All clocks follow tokio's paused one.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64 + 1
    }

    /// As on a machine that has slept for a day: no idle timer or guard goes by it.
    fn boottime_ms(&self) -> u64 {
        self.monotonic_ms() + 86_400_000
    }

    /// It may jump: no timer, limit, order or age in the tree goes by it.
    fn wall_ms(&self) -> u64 {
        panic!("the tree looked at the wall clock")
    }
}

struct OneStore;

impl Stores for OneStore {
    fn store_id(&self, _: &WorkerId) -> Result<String, String> {
        Ok("store".to_owned())
    }
}

struct NoOutbox;

impl Outbox for NoOutbox {
    fn put(&self, _: FinishRecord) -> Pending<Result<(), OutboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn acknowledge(
        &self,
        _: orchestrator_actors::domain::ids::TurnId,
    ) -> Pending<Result<(), OutboxError>> {
        Box::pin(async { Ok(()) })
    }

    fn pending(&self, _: &WorkerId) -> Vec<FinishRecord> {
        Vec::new()
    }

    fn depth(&self) -> usize {
        0
    }
}
