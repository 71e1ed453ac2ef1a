//! A machine with one worker over the fakes. The supervisor can be killed and started again; the deployment, the disk
//! and the assistants' store stay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, MachineId, WorkerDir};
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::domain::policy::Policy;
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::domain::turn::OnInterrupt;
use orchestrator_actors::machine::{
    self, Desired, MachineArgs, MachineHandle, Ports, Settings, StartIdentity, WorkerSpec,
};
use orchestrator_actors::ports::embedded::Embedded;
use orchestrator_actors::supervision::fault::Fault;
use orchestrator_actors::table::{ActorCard, ActorKey};
use tokio_util::sync::CancellationToken;

use crate::disk::Disk;
use crate::fake_agent::FakeAgents;
use crate::fake_deployment::FakeDeployment;
use crate::fake_link::FakeLink;
use crate::fake_roles::FakeRoles;
use crate::fake_tasks::FakeTasks;
use crate::gate::Gate;
use crate::ports::{NoOutbox, OneStore, PausedClock};
use crate::script::Script;

pub const BRIDGE: &str = "bridge/http://127.0.0.1:1";
pub const WORKER: &str = "worker/w";

/// What a world is made of.
pub struct Setup {
    pub take_over: bool,
    pub script: Option<Script>,
    pub on_interrupt: OnInterrupt,
    pub embedded: Option<Arc<dyn Embedded>>,
    /// The deployment cannot be reached when the supervisor starts.
    pub offline: bool,
    pub store: OneStore,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            take_over: false,
            script: None,
            on_interrupt: OnInterrupt::Report,
            embedded: None,
            offline: false,
            store: OneStore::default(),
        }
    }
}

pub struct World {
    pub deployment: FakeDeployment,
    pub disk: Disk,
    pub gate: Gate,
    pub agents: FakeAgents,
    pub roles: FakeRoles,
    pub tasks: FakeTasks,
    pub link: FakeLink,
    pub machine: MachineHandle,
    setup: Setup,
    clock: tokio::time::Instant,
    starts: u32,
    process: CancellationToken,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        keep_injected_panics_quiet();
        let gate = Gate::default();
        let deployment = FakeDeployment::new();
        let agents = FakeAgents::new(gate.clone(), setup.script);
        let disk = Disk::default();
        let clock = tokio::time::Instant::now();
        let process = CancellationToken::new();
        let link = FakeLink::new(
            deployment.clone(),
            disk.clone(),
            gate.clone(),
            process.clone(),
        );
        link.set_online(!setup.offline);
        let agents = agents.for_process(process.clone());
        let roles = FakeRoles::default();
        let tasks = FakeTasks::new();
        let tools = (&agents, &roles, &tasks);
        let machine = run(&setup, tools, &link, clock, "start1", "boot").await;
        machine.started(Duration::from_secs(5)).await;
        Self {
            deployment,
            disk,
            gate,
            agents,
            roles,
            tasks,
            link,
            machine,
            setup,
            clock,
            starts: 1,
            process,
        }
    }

    /// `kill -9` of the supervisor: everything in memory is gone at once, the wardens end its children.
    pub async fn kill(&self) {
        self.process.cancel();
        self.agents.end_all();
        self.roles.end_all();
        self.machine.kill();
        self.machine.closed().await;
    }

    /// The next supervisor of this installation.
    pub async fn start_again(&mut self, boot: &str) {
        self.starts += 1;
        self.process = CancellationToken::new();
        self.agents = self.agents.for_process(self.process.clone());
        self.link = FakeLink::new(
            self.deployment.clone(),
            self.disk.clone(),
            self.gate.clone(),
            self.process.clone(),
        );
        let start = format!("start{}", self.starts);
        self.machine = run(
            &self.setup,
            (&self.agents, &self.roles, &self.tasks),
            &self.link,
            self.clock,
            &start,
            boot,
        )
        .await;
    }

    pub fn inject(&self, actor: &str, fault: Fault) {
        let actor = ActorKey::parse(actor);
        self.machine
            .inject(actor, fault)
            .expect("the machine lives");
    }

    pub fn card(&self, key: &str) -> Option<ActorCard> {
        self.machine.table().get(&ActorKey::parse(key))
    }

    pub async fn until_card(&self, key: &str, holds: impl Fn(&ActorCard) -> bool) -> ActorCard {
        let card = self.until_table(key, |card| card.is_some_and(&holds)).await;
        card.expect("it holds")
    }

    pub async fn until_gone(&self, key: &str) {
        self.until_table(key, |card| card.is_none()).await;
    }

    async fn until_table(
        &self,
        key: &str,
        holds: impl Fn(Option<&ActorCard>) -> bool,
    ) -> Option<ActorCard> {
        let table = self.machine.table();
        let mut changes = table.changes();
        let wait = async {
            loop {
                let card = table.get(&ActorKey::parse(key));
                if holds(card.as_ref()) {
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
        self.delivered(turn).await;
        self.agents.say(session, turn, text).await;
        self.deployment
            .until("text arrives", |d| d.turn(turn).text() == text)
            .await;
    }

    pub async fn delivered(&self, turn: &str) {
        self.agents
            .until("it is delivered", |agents| agents.deliveries(turn) > 0)
            .await;
    }

    /// Lets everything happen that is under way: virtual time, which passes only when nobody has anything to do.
    pub async fn quiet(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    pub async fn stop(self) {
        self.stop_machine().await;
        self.left_nothing();
    }

    pub async fn stop_machine(&self) {
        self.machine.stop(Duration::from_mins(1)).await;
        self.machine.closed().await;
    }

    pub fn left_nothing(&self) {
        assert_eq!(self.agents.alive(), 0, "a child is left behind");
        assert_eq!(self.agents.leases(), 0, "a lease is left behind");
        assert_eq!(self.roles.alive(), 0, "a role's assistant is left behind");
        assert_eq!(self.tasks.running(), 0, "a task's run is left behind");
        assert_eq!(self.tasks.holders(), 0, "a directory is held still");
        assert_eq!(self.deployment.violations(), Vec::<String>::new());
    }
}

/// They are meant; with a backtrace each they would take longer than the tests. Every other panic is told as ever.
fn keep_injected_panics_quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload_as_str().unwrap_or_default();
            if !text.starts_with("a panic was injected") {
                told(panic);
            }
        }));
    });
}

async fn run(
    setup: &Setup,
    (agents, roles, tasks): (&FakeAgents, &FakeRoles, &FakeTasks),
    link: &FakeLink,
    clock: tokio::time::Instant,
    start: &str,
    boot: &str,
) -> MachineHandle {
    let ports = Ports {
        agents: Arc::new(agents.clone()),
        roles: Arc::new(roles.clone()),
        links: Arc::new(link.clone()),
        outbox: Arc::new(NoOutbox),
        clock: Arc::new(PausedClock(clock)),
        stores: Arc::new(setup.store.clone()),
        workshops: Arc::new(tasks.clone()),
    };
    let identity = StartIdentity {
        install_id: "install".to_owned(),
        start_id: start.to_owned(),
        boot_id: boot.to_owned(),
        hostname: "host".to_owned(),
        os: "linux".to_owned(),
        tools: Vec::new(),
        take_over: setup.take_over,
    };
    let worker = WorkerSpec {
        on_interrupt: setup.on_interrupt,
        ..spec("w", 300_000)
    };
    let args = MachineArgs {
        name: "host".to_owned(),
        machine_id: MachineId::from("m"),
        ports,
        desired: Desired {
            workers: vec![worker],
        },
        settings: Settings::default(),
        identity,
        deployment: setup.embedded.clone(),
    };
    machine::start(args).await.expect("the machine starts")
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
        paused: false,
        on_interrupt: OnInterrupt::Report,
        tasks: Arc::default(),
        permissions: Policy::ASK,
        answer_timeout_ms: 60_000,
        broken: None,
    }
}

pub fn is_serving(card: &ActorCard) -> bool {
    card.phase == Phase::Ready
}
