//! The same client against the deployment that we embed, with the product's own functions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{DeploymentUrl, TurnId};
use orchestrator_actors::domain::item::{Draft, ItemKind};
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::domain::turn::{Ending, Outcome, Usage};
use orchestrator_actors::ports::link::{Credential, Finished, Link};
use orchestrator_actors::ports::outbox::Outbox;
use orchestrator_backend::{AuthProvider, Deployment, DeploymentConfig, Instance, Site};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::link::ConvexLinks;
use super::super::owner::{ClientError, OwnerClient};
use super::link::text;
use super::{DEADLINE, until, within};
use crate::adapters::identity::{AUDIENCE, ISSUER, OwnerKey};
use crate::adapters::outbox::FileOutbox;

async fn deploy(folder: &Path, port: u16, key: &OwnerKey) -> Deployment {
    let functions = orchestrator_backend::functions::product();
    let functions = functions.into_iter();
    let config = DeploymentConfig {
        bind: ([127, 0, 0, 1], port).into(),
        data: folder.join("local.sqlite3"),
        functions: functions
            .map(|(n, s)| (n.to_owned(), s.to_owned()))
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
    Deployment::start(config).await.unwrap()
}

/// A deployment with an approved worker, its owner, and a supervisor's link.
struct Rig {
    deployment: Option<Deployment>,
    key: Arc<OwnerKey>,
    owner: OwnerClient,
    link: Arc<dyn Link>,
    outbox: Arc<FileOutbox>,
    credential: Credential,
    _drive: AbortOnDropHandle<()>,
    folder: TempDir,
}

impl Rig {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = OwnerKey::load_or_create(&folder.path().join("owner.key")).unwrap();
        let key = Arc::new(key);
        let deployment = deploy(folder.path(), 0, &key).await;
        let url = deployment.url();
        let owner = OwnerClient::connect(&url, Arc::clone(&key) as _, DEADLINE)
            .await
            .unwrap();
        let outbox = FileOutbox::open(&folder.path().join("outbox.ndjson")).unwrap();
        let outbox = Arc::new(outbox);
        let links = ConvexLinks::new(Arc::clone(&outbox) as Arc<dyn Outbox>);
        let link = links.link(&DeploymentUrl::new(url));
        let drive = link.drive();
        let drive = tokio::spawn(async move { drop(drive.await) });
        let token = register(&owner).await;
        let epoch = connect(&*link, &token, "start1").await;
        Self {
            deployment: Some(deployment),
            key,
            owner,
            link,
            outbox,
            credential: Credential { token, epoch },
            _drive: AbortOnDropHandle::new(drive),
            folder,
        }
    }

    /// Sends a message and claims its turn.
    async fn claimed(&self, id: &str) -> TurnId {
        let message = json!({"id": id, "workerId": "w", "content": "hello"});
        let sent = self.owner.mutation("messages:send", message).await.unwrap();
        let turn = TurnId::new(sent["turnId"].as_str().unwrap());
        let claimed = self
            .as_worker("messages:claim", json!({"turnId": turn}))
            .await;
        assert_eq!(claimed["status"], "claimed");
        let credential = self.credential.clone();
        let next_index = claimed["nextIndex"].as_u64().unwrap();
        self.link.open_stream(turn.clone(), credential, next_index);
        turn
    }

    async fn as_worker(&self, function: &'static str, mut args: Value) -> Value {
        args["token"] = json!(self.credential.token.expose());
        args["epoch"] = json!(self.credential.epoch);
        within(function, self.link.mutate(function, args))
            .await
            .unwrap()
    }

    /// The assistant's message of the session that `id` started.
    async fn answer(&self, id: &str) -> Value {
        let args = json!({"sessionId": format!("session_{id}")});
        let list = self.owner.query("messages:list", args).await.unwrap();
        list["messages"][1].clone()
    }

    async fn finish(&self, turn: &TurnId, ending: Ending) {
        let finish = self
            .link
            .finish(turn.clone(), self.credential.clone(), ending);
        assert_eq!(within("the finish", finish).await, Ok(Finished::Closed));
    }

    /// Down and up again on the same port and file.
    async fn bounce(&mut self) {
        let deployment = self.deployment.take().unwrap();
        let port = deployment.address().port();
        deployment.stop().await;
        self.deployment = Some(deploy(self.folder.path(), port, &self.key).await);
    }
}

async fn register(owner: &OwnerClient) -> Arc<WorkerToken> {
    let machine =
        json!({"machineId": "m", "name": "m", "hostname": "h", "os": "linux", "tools": []});
    owner.mutation("machines:register", machine).await.unwrap();
    let worker = json!({"workerId": "w", "machineId": "m", "name": "w", "directory": "/w"});
    let created = owner.mutation("workers:create", worker).await.unwrap();
    let approve = json!({"workerId": "w"});
    owner.mutation("workers:approve", approve).await.unwrap();
    Arc::new(WorkerToken::parse(created["token"].as_str().unwrap()).unwrap())
}

async fn connect(link: &dyn Link, token: &WorkerToken, start: &str) -> u64 {
    let args = json!({
        "token": token.expose(),
        "installId": "install",
        "startId": start,
        "bootId": "boot",
        "storeId": "store",
        "takeOver": false,
        "machine": {"hostname": "h", "os": "linux", "tools": ["opencode"]},
    });
    let connected = within("connect", link.mutate("workers:connect", args))
        .await
        .unwrap();
    assert_eq!(connected["status"], "approved");
    connected["epoch"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_streamed_finished_and_read() {
    let rig = Rig::start().await;
    let (to, mut inbox) = mpsc::channel(4);
    let args = json!({"token": rig.credential.token.expose(), "epoch": rig.credential.epoch});
    rig.link.watch("work:inbox", args, to);
    let first = within("the inbox", inbox.recv()).await.unwrap().unwrap();
    assert_eq!(first["turns"], json!([]));
    let turn = rig.claimed("a").await;
    let mut state = Value::Null;
    while state != "claimed" {
        let inbox = within("the turn", inbox.recv()).await.unwrap().unwrap();
        state = inbox["turns"][0]["state"].clone();
    }
    let mut window = rig
        .owner
        .subscribe("chunks:page", json!({"turnId": turn, "from": 0}));
    rig.link.push(&turn, text("streamed ")).unwrap();
    loop {
        let page = within("the chunk", window.recv()).await.unwrap().unwrap();
        if page["items"][0]["content"] == "streamed " {
            break;
        }
    }
    rig.link.push(&turn, text("to the end")).unwrap();
    let tool = Draft {
        part_id: "tool".to_owned(),
        kind: ItemKind::Tool,
        content: r#"{"tool":"bash","callId":"c","status":"completed"}"#.to_owned(),
    };
    rig.link.push(&turn, vec![tool]).unwrap();
    let usage = Usage {
        input_tokens: 3.0,
        cost: 0.25,
        ..Usage::default()
    };
    rig.finish(&turn, Ending::complete(Some(usage))).await;
    let answer = rig.answer("a").await;
    assert_eq!(answer["state"], "complete");
    assert_eq!(answer["usage"]["cost"], 0.25);
    assert_eq!(answer["parts"][0]["text"], "streamed to the end");
    assert_eq!(answer["parts"][1]["kind"], "tool");
    assert_eq!(rig.outbox.depth(), 0);
    let again = rig
        .link
        .finish(turn, rig.credential.clone(), Ending::complete(None));
    assert_eq!(within("the second", again).await, Ok(Finished::Already));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_and_panics_of_the_deployment_lose_no_chunk() {
    let mut rig = Rig::start().await;
    let turns = [rig.claimed("a").await, rig.claimed("b").await];
    let mut whole = String::new();
    for n in 0..300 {
        let piece = format!("{n} ");
        whole.push_str(&piece);
        for turn in &turns {
            rig.link.push(turn, text(&piece)).unwrap();
        }
        match n {
            100 => rig.bounce().await,
            #[cfg(debug_assertions)]
            200 => rig.deployment.as_ref().unwrap().inject_engine_panic(),
            _ => {
                rig.link.flush(3).await;
            }
        }
    }
    for (turn, id) in turns.iter().zip(["a", "b"]) {
        rig.finish(turn, Ending::complete(None)).await;
        // Many small chunks are folded by a job a moment later.
        let deadline = tokio::time::Instant::now() + DEADLINE;
        let mut answer = rig.answer(id).await;
        while answer["folded"] != true {
            assert!(
                tokio::time::Instant::now() < deadline,
                "never folded: {answer}"
            );
            answer = rig.answer(id).await;
        }
        assert_eq!(answer["parts"][0]["text"], whole.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_start_displaces_and_replays() {
    let mut rig = Rig::start().await;
    let turn = rig.claimed("a").await;
    rig.link.push(&turn, text("kept")).unwrap();
    assert!(within("the flush", rig.link.flush(10_000)).await);
    let old = rig.credential.clone();
    rig.credential.epoch = connect(&*rig.link, &old.token, "start2").await;
    assert_eq!(rig.credential.epoch, old.epoch + 1);
    let ending = Ending::because(Outcome::Interrupted, "stopped", "the supervisor stopped");
    let refused = within("the refusal", rig.link.finish(turn, old, ending)).await;
    assert_eq!(refused.unwrap_err().code(), "displaced");
    assert_eq!(rig.outbox.depth(), 1);
    let replay = rig.link.replay(rig.credential.clone());
    assert_eq!(within("the replay", replay).await, Ok(1));
    let answer = rig.answer("a").await;
    assert_eq!(answer["state"], "interrupted");
    assert_eq!(answer["error"]["code"], "stopped");
    assert_eq!(answer["parts"][0]["text"], "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_rest_is_appended_in_pieces_before_the_finish() {
    let mut rig = Rig::start().await;
    let turn = rig.claimed("a").await;
    let long = "0123456789ä€".repeat(60_000);
    rig.bounce().await;
    rig.link.push(&turn, text(&long)).unwrap();
    rig.finish(&turn, Ending::complete(None)).await;
    let text_of = |parts: &Value| -> String {
        let parts = parts.as_array().cloned().unwrap_or_default();
        parts
            .iter()
            .filter_map(|p| p["text"].as_str().map(str::to_owned))
            .collect()
    };
    let mut read = String::new();
    let mut from = json!(0);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while rig.answer("a").await["folded"] != true {
        assert!(tokio::time::Instant::now() < deadline, "never folded");
    }
    while !from.is_null() {
        let args = json!({"turnId": turn, "from": from});
        let page = rig.owner.query("messages:parts", args).await.unwrap();
        read.push_str(&text_of(&page["parts"]));
        from = page["next"].clone();
    }
    assert_eq!(read.len(), long.len());
    assert!(read == long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let rig = Rig::start().await;
    let url = rig.deployment.as_ref().unwrap().url();
    let other = OwnerKey::load_or_create(&rig.folder.path().join("other.key")).unwrap();
    let refused = OwnerClient::connect(&url, Arc::new(other), DEADLINE).await;
    assert!(matches!(
        refused.err(),
        Some(ClientError::Unauthorized { .. })
    ));
    let token = WorkerToken::parse("machine_m:worker_w:secret_wrong").unwrap();
    let args = json!({"token": token.expose(), "epoch": 1});
    let beat = within("the refusal", rig.link.mutate("presence:beat", args)).await;
    assert_eq!(beat.unwrap_err().code(), "unauthorized");
    until("nothing waits", || rig.link.status().waiting == 0).await;
}

#[tokio::test]
async fn tasks_are_pulled_called_off_and_acknowledged() {
    use orchestrator_actors::domain::task::{BranchName, Class, CommitId, Failure};
    use orchestrator_actors::ports::tasks::{
        Acknowledgement, Artifact, Metrics, Pulled, Queue, QueueError,
    };
    use orchestrator_actors::tasks::LinkQueue;

    let rig = Rig::start().await;
    let queue = LinkQueue::new(
        Arc::clone(&rig.link),
        tokio::sync::watch::channel(rig.credential.clone()).1,
    );
    // It waits until there is one.
    let waiting = tokio::spawn(queue.pull(None));
    let tasks = json!([{"id": "a", "text": "do a"}, {"id": "b", "text": "do b"}]);
    let adding = json!({"workerId": "w", "tasks": tasks});
    rig.owner.mutation("tasks:add", adding).await.unwrap();
    let Pulled::Task(first) = within("a task", waiting).await.unwrap().unwrap() else {
        panic!("no task");
    };
    assert_eq!(
        (first.id.as_str(), first.description.as_str(), first.attempt),
        ("a", "do a", 1)
    );

    let cancel = json!({"taskId": "a"});
    rig.owner.mutation("tasks:cancel", cancel).await.unwrap();
    within("the mark", first.withdrawn.cancelled()).await;
    let failure = Failure::new(Class::Aborted, "called off");
    let said = Acknowledgement::Failed(failure);
    within(
        "an answer",
        queue.acknowledge(first.clone(), said.clone(), Metrics::default()),
    )
    .await
    .unwrap();
    // Again, as after a crash.
    within(
        "an answer",
        queue.acknowledge(first, said, Metrics::default()),
    )
    .await
    .unwrap();

    let Pulled::Task(second) = within("a task", queue.pull(None)).await.unwrap() else {
        panic!("no task");
    };
    let name = |name: &str| BranchName::new(name).unwrap();
    let done = Acknowledgement::Done(Artifact {
        branch: name("12"),
        previous: name("main"),
        base: CommitId::new("b"),
        commit: CommitId::new("c"),
        pushed: true,
    });
    // A subscription that still shows the time before the pull calls nothing off.
    let early = tokio::time::timeout(Duration::from_millis(300), second.withdrawn.cancelled());
    assert!(early.await.is_err());
    let mut other = second.clone();
    other.lease = "somebody-elses".to_owned();
    let lost = within(
        "an answer",
        queue.acknowledge(other, done.clone(), Metrics::default()),
    )
    .await;
    assert_eq!(lost, Err(QueueError::Lost));
    within(
        "an answer",
        queue.acknowledge(second, done, Metrics::default()),
    )
    .await
    .unwrap();
    let list = rig
        .owner
        .query("tasks:list", json!({"workerId": "w"}))
        .await
        .unwrap();
    let states: Vec<&str> = [0, 1]
        .map(|at| list["tasks"][at]["state"].as_str().unwrap())
        .to_vec();
    assert_eq!(states, ["done", "canceled"]);
    assert_eq!(list["tasks"][0]["artifact"]["branch"], "12");
}

#[tokio::test]
async fn the_finish_of_a_removed_worker_is_dropped_and_that_of_a_revoked_one_is_kept() {
    let rig = Rig::start().await;
    let turn = rig.claimed("a").await;
    let worker = json!({"workerId": "w"});
    let revoked = rig.owner.mutation("workers:revoke", worker.clone());
    revoked.await.unwrap();
    let finish = rig
        .link
        .finish(turn, rig.credential.clone(), Ending::complete(None));
    assert!(within("the finish", finish).await.is_err());
    assert_eq!(rig.outbox.depth(), 1);
    let removed = rig.owner.mutation("workers:remove", worker);
    removed.await.unwrap();
    // As the bridge does when it is refused the token.
    let nobody = Credential {
        epoch: 0,
        ..rig.credential.clone()
    };
    assert_eq!(within("the replay", rig.link.replay(nobody)).await, Ok(1));
    assert_eq!(rig.outbox.depth(), 0);
}
