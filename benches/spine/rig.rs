//! The product in this process: the embedded deployment, the actor tree over the real adapters, and an owner's client,
//! each on a WebSocket of its own. Only the assistant is scripted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orchestrator::adapters::clock::SystemClock;
use orchestrator::adapters::convex::{ConvexLinks, OwnerClient};
use orchestrator::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};
use orchestrator::adapters::opencode::{OpenCodeAgents, OpenCodeConfig};
use orchestrator::adapters::outbox::FileOutbox;
use orchestrator_actors::domain::ids::{DeploymentUrl, MachineId, WorkerDir, WorkerId};
use orchestrator_actors::domain::policy::Policy;
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::domain::turn::OnInterrupt;
use orchestrator_actors::machine::{
    self, Desired, MachineArgs, MachineHandle, Ports, Settings, StartIdentity, Stores, WorkerSpec,
    WorkerStart,
};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::agent::{AgentError, Agents};
use orchestrator_actors::ports::outbox::Outbox;
use orchestrator_actors::ports::role::{Player, RoleSpec, Roles};
use orchestrator_actors::ports::tasks::{Site as TaskSite, Workshop, Workshops};
use orchestrator_backend::{AuthProvider, Deployment, DeploymentConfig, Instance, Site};
use serde_json::json;
use tempfile::TempDir;

use crate::common::files;
use crate::probe::{OneLink, Probe};

const LIMIT: Duration = Duration::from_secs(30);

pub struct Rig {
    pub owner: OwnerClient,
    pub probe: Arc<Probe>,
    pub machine: MachineHandle,
    deployment: Deployment,
    folder: TempDir,
}

impl Rig {
    /// With the scripted OpenCode as a process under a warden.
    pub async fn with_opencode() -> Self {
        let folder = files::folder();
        let path = folder.path();
        let mut config = OpenCodeConfig::new(
            std::env::current_exe().expect("our path"),
            path.join("agents"),
            path.join("run"),
            path.join("state"),
        );
        config.warden = PathBuf::from(crate::ORCHESTRATOR);
        let agents = OpenCodeAgents::new(config).expect("folders");
        Self::start(folder, Arc::new(agents)).await
    }

    pub async fn with_agents(agents: Arc<dyn Agents>) -> Self {
        Self::start(files::folder(), agents).await
    }

    async fn start(folder: TempDir, agents: Arc<dyn Agents>) -> Self {
        let path = folder.path();
        let key = Arc::new(OwnerKey::load_or_create(&path.join("owner.key")).expect("a key"));
        let deployment = deploy(path.join("local.sqlite3"), &key).await;
        let url = DeploymentUrl::new(deployment.url());
        let owner = OwnerClient::connect(url.as_str(), Arc::clone(&key) as _, LIMIT)
            .await
            .expect("the deployment answers");
        let token = enrol(&owner).await;
        let outbox = Arc::new(FileOutbox::open(&path.join("outbox.ndjson")).expect("an outbox"));
        let links = ConvexLinks::new(Arc::clone(&outbox) as Arc<dyn Outbox>);
        let probe = Probe::new(links.link(&url));
        let work = path.join("work");
        std::fs::create_dir_all(&work).expect("a folder");
        let spec = WorkerSpec {
            name: "work".to_owned(),
            token,
            directory: WorkerDir::canonical(work.canonicalize().expect("a real path")),
            url,
            idle_timeout_ms: 300_000,
            max_sessions: 1_000,
            paused: false,
            on_interrupt: OnInterrupt::Report,
            tasks: Arc::default(),
            permissions: Policy::ASK,
            answer_timeout_ms: 60_000,
            broken: None,
        };
        let args = MachineArgs {
            name: "bench".to_owned(),
            machine_id: MachineId::new("m"),
            ports: Ports {
                agents,
                roles: Arc::new(NoRoles),
                links: Arc::new(OneLink(Arc::clone(&probe))),
                outbox,
                clock: Arc::new(SystemClock),
                stores: Arc::new(OneStore),
                workshops: Arc::new(NoTasks),
            },
            desired: Desired {
                workers: vec![spec],
            },
            settings: Settings::default(),
            identity: StartIdentity {
                install_id: "install".to_owned(),
                start_id: "start".to_owned(),
                boot_id: "boot".to_owned(),
                hostname: "bench".to_owned(),
                os: "linux".to_owned(),
                tools: Vec::new(),
                take_over: false,
            },
            deployment: None,
        };
        let machine = machine::start(args).await.expect("the tree starts");
        let started = machine.started(LIMIT).await;
        assert!(
            started
                .iter()
                .all(|(_, start)| *start == WorkerStart::Ready),
            "{started:?}"
        );
        Self {
            owner,
            probe,
            machine,
            deployment,
            folder,
        }
    }

    /// Sends a message into a session of its own; gives the turn's id.
    pub async fn send(&self, id: &str, content: &str) -> String {
        let message = json!({ "id": id, "workerId": "w", "content": content });
        let sent = self
            .owner
            .mutation("messages:send", message)
            .await
            .expect("a turn");
        sent["turnId"].as_str().expect("an id").to_owned()
    }

    /// Stops everything; gives the closed database, whose folder lives as long as the guard.
    pub async fn stop(self) -> (PathBuf, TempDir) {
        self.machine.stop(LIMIT).await;
        drop(self.owner);
        self.deployment.stop().await;
        (self.folder.path().join("local.sqlite3"), self.folder)
    }
}

async fn deploy(data: PathBuf, key: &OwnerKey) -> Deployment {
    let functions = orchestrator_backend::functions::product().into_iter();
    let config = DeploymentConfig {
        bind: ([127, 0, 0, 1], 0).into(),
        data,
        functions: functions
            .map(|(name, source)| (name.to_owned(), source.to_owned()))
            .collect(),
        environment: Vec::new(),
        identity: vec![AuthProvider {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            jwks: key.jwks(),
        }],
        allowed_origins: Vec::new(),
        instance: Instance::default(),
        site: Site::default(),
    };
    Deployment::start(config)
        .await
        .expect("the deployment starts")
}

async fn enrol(owner: &OwnerClient) -> Arc<WorkerToken> {
    let machine =
        json!({ "machineId": "m", "name": "m", "hostname": "m", "os": "linux", "tools": [] });
    owner
        .mutation("machines:register", machine)
        .await
        .expect("a machine");
    let worker = json!({ "workerId": "w", "machineId": "m", "name": "w", "directory": "/w" });
    let created = owner
        .mutation("workers:create", worker)
        .await
        .expect("a worker");
    owner
        .mutation("workers:approve", json!({ "workerId": "w" }))
        .await
        .expect("an approval");
    let token = created["token"].as_str().expect("a token");
    Arc::new(WorkerToken::parse(token).expect("a token"))
}

/// No bench starts one.
struct NoRoles;

impl Roles for NoRoles {
    fn start(&self, _: RoleSpec) -> Pending<Result<Box<dyn Player>, AgentError>> {
        Box::pin(async { Err(AgentError::Missing("no role in a bench".to_owned())) })
    }
}

/// No bench of the tree has one.
struct NoTasks;

impl Workshops for NoTasks {
    fn open(&self, _: &TaskSite) -> Workshop {
        unreachable!("no task in a bench of the tree")
    }

    fn has_left(&self, _: &WorkerId) -> Pending<bool> {
        Box::pin(async { false })
    }
}

struct OneStore;

impl Stores for OneStore {
    fn store_id(&self, _: &WorkerId) -> Pending<Result<String, String>> {
        Box::pin(async { Ok("store".to_owned()) })
    }
}
