//! A deployment behind a network that can be slow, silent or gone, and links to it without the rest of the product: what a
//! link does there is the same whoever pushes. The owner, who reads, reaches the deployment directly.

use std::sync::Arc;
use std::time::Duration;

use orchestrator::adapters::convex::{ConvexLinks, OwnerClient};
use orchestrator::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};
use orchestrator::adapters::outbox::FileOutbox;
use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::ports::link::{Credential, Link};
use orchestrator_actors::ports::outbox::Outbox;
use orchestrator_backend::{AuthProvider, Deployment, DeploymentConfig, Instance, Site};
use orchestrator_test_support::Proxy;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::files;

const LIMIT: Duration = Duration::from_secs(30);

pub struct Far {
    pub deployment: Deployment,
    pub owner: OwnerClient,
    folder: TempDir,
}

/// A worker's link through a network of its own.
pub struct Near {
    pub link: Arc<dyn Link>,
    pub network: Proxy,
    pub worker: String,
    credential: Credential,
    drive: JoinHandle<()>,
    /// Its outbox.
    _folder: TempDir,
}

impl Far {
    pub async fn start() -> Self {
        let folder = files::folder();
        let key = OwnerKey::load_or_create(&folder.path().join("owner.key")).expect("a key");
        let key = Arc::new(key);
        let functions = orchestrator_backend::functions::product().into_iter();
        let config = DeploymentConfig {
            bind: ([127, 0, 0, 1], 0).into(),
            data: folder.path().join("local.sqlite3"),
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
        let deployment = Deployment::start(config).await.expect("a deployment");
        let owner = OwnerClient::connect(&deployment.url(), key as _, LIMIT)
            .await
            .expect("an answer");
        let machine =
            json!({ "machineId": "m", "name": "m", "hostname": "m", "os": "linux", "tools": [] });
        let registered = owner.mutation("machines:register", machine).await;
        registered.expect("a machine");
        Self {
            deployment,
            owner,
            folder,
        }
    }

    /// A worker that is connected.
    pub async fn worker(&self, worker: &str) -> Near {
        let mine =
            json!({ "workerId": worker, "machineId": "m", "name": worker, "directory": worker });
        let created = self.owner.mutation("workers:create", mine).await;
        let created = created.expect("a worker");
        let approved = self
            .owner
            .mutation("workers:approve", json!({ "workerId": worker }));
        approved.await.expect("an approval");
        let token = WorkerToken::parse(created["token"].as_str().expect("a token"));
        let token = Arc::new(token.expect("a token"));
        let network = Proxy::to(self.deployment.address());
        let folder = files::folder();
        let outbox = FileOutbox::open(&folder.path().join("outbox")).expect("an outbox");
        let links = ConvexLinks::new(Arc::new(outbox) as Arc<dyn Outbox>);
        let link = links.link(&DeploymentUrl::new(network.url()));
        let driving = link.drive();
        let drive = tokio::spawn(async move { drop(driving.await) });
        let args = json!({
            "token": token.expose(),
            "installId": "install",
            "startId": "start",
            "bootId": "boot",
            "storeId": "store",
            "takeOver": false,
            "machine": { "hostname": "m", "os": "linux", "tools": [] },
        });
        let connected = link.mutate("workers:connect", args).await;
        let epoch = connected.expect("an epoch")["epoch"].as_u64();
        let credential = Credential {
            token,
            epoch: epoch.expect("an epoch"),
        };
        Near {
            link,
            network,
            worker: worker.to_owned(),
            credential,
            drive,
            _folder: folder,
        }
    }

    /// A turn of a session of its own, claimed and open.
    pub async fn turn(&self, near: &Near, id: &str) -> TurnId {
        let message = json!({ "id": id, "workerId": near.worker, "content": "hello" });
        let sent = self.owner.mutation("messages:send", message).await;
        let turn = TurnId::new(sent.expect("a turn")["turnId"].as_str().expect("an id"));
        let claimed = near
            .as_worker("messages:claim", json!({ "turnId": turn }))
            .await;
        assert_eq!(claimed["status"], "claimed");
        near.link.open_stream(turn.clone(), near.credential(), 0);
        turn
    }

    pub async fn stop(self) {
        drop(self.owner);
        self.deployment.stop().await;
        drop(self.folder);
    }
}

impl Near {
    pub fn credential(&self) -> Credential {
        self.credential.clone()
    }

    async fn as_worker(&self, function: &'static str, mut args: Value) -> Value {
        args["token"] = json!(self.credential.token.expose());
        args["epoch"] = json!(self.credential.epoch);
        self.link.mutate(function, args).await.expect(function)
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.drive.abort();
    }
}

pub fn text(content: &str) -> Vec<Draft> {
    vec![Draft {
        part_id: "p".to_owned(),
        kind: ItemKind::Text,
        content: content.to_owned(),
    }]
}
