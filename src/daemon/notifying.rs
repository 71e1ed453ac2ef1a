//! Tells a worker's owner what waits for them, what has failed and what took long, by the means that the configuration names.
//! It is fed by the deployment (`notices:list`), with the workers' own tokens over a connection of its own, so it neither reads nor
//! holds up the actor tree. Nothing is told twice, also over a restart; nothing in quiet hours; and nothing that somebody
//! looks at, on whichever device (`viewers:looking`). What waits is looked at again until it is answered: whoever went away
//! without an answer is told after all, and so is who looks on for minutes without one. To devices it goes by Web Push: each installation tells of the workers that it serves,
//! with a key of its own, and only to those devices that have subscribed with it.

mod look;
mod teller;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::token::WorkerToken;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use self::look::{Look, News};
use self::teller::Teller;
use super::running::{Running, Shared};
use crate::adapters::convex::{ClientError, OwnerClient};
use crate::adapters::identity::install_id;
use crate::adapters::notify::{Event, Notice, Notifier};
use crate::adapters::process::own_binary;
use crate::adapters::push::{Delivery, Pusher, Subscription, Vapid};
use crate::config::paths::write_private_unsynced;
use crate::config::{Notify, WorkersConfig, env};

const TIMEOUT: Duration = Duration::from_secs(15);
/// After a deployment that was away, twice as long each time.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_mins(5);
/// How often what waits and was not told is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Notices that are remembered; the deployment names 40 at most.
const REMEMBERED: usize = 400;
/// Of a session's title, on a device.
const TITLE_CHARS: usize = 120;
/// How long a device that is off is worth telling: of what waits, and of what has ended.
const WAITING_TTL: Duration = Duration::from_hours(12);
const ENDED_TTL: Duration = Duration::from_hours(4);
/// Push services want to know whom to complain to; who runs this can say it.
const CONTACT: &str = "mailto:orchestrator@example.com";

/// A worker whose owner is told something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    id: String,
    name: String,
    url: DeploymentUrl,
    token: Arc<WorkerToken>,
    notify: Notify,
}

/// The workers of a configuration that tell.
pub(super) fn told(config: &WorkersConfig) -> Vec<Told> {
    let tells = config.workers.iter().filter(|entry| entry.notify.is_on());
    tells
        .map(|entry| Told {
            id: entry.token.worker().to_string(),
            name: entry.name.clone(),
            url: entry.url.clone(),
            token: Arc::clone(&entry.token),
            notify: entry.notify.clone(),
        })
        .collect()
}

/// Ends with this handle.
pub(super) struct Notifying {
    _task: AbortOnDropHandle<()>,
}

impl Notifying {
    pub fn start(running: &Shared) -> Self {
        let means = Arc::new(Means::new(running));
        let mut told = running.told.subscribe();
        let task = async move {
            loop {
                let mut by_deployment: BTreeMap<String, Vec<Told>> = BTreeMap::new();
                for worker in told.borrow_and_update().iter() {
                    let url = worker.url.to_string();
                    by_deployment.entry(url).or_default().push(worker.clone());
                }
                // Those of the configuration before end with their set.
                let mut deployments = JoinSet::new();
                for (url, workers) in by_deployment {
                    deployments.spawn(keep_telling(Arc::clone(&means), url, workers));
                }
                if told.changed().await.is_err() {
                    return;
                }
            }
        };
        Self {
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }
}

/// What all of them use.
struct Means {
    notifier: Notifier,
    install: String,
    memory: Mutex<Memory>,
    /// Made when the first worker tells that way.
    pusher: OnceLock<Option<Pusher>>,
}

impl Means {
    fn new(running: &Running) -> Self {
        // As the workers' connections say it, so that the deployment knows us for the same.
        let given = &running.options.paths.state;
        let state = &std::fs::canonicalize(given).unwrap_or_else(|_| given.clone());
        Self {
            notifier: Notifier {
                warden: own_binary(),
                folder: state.clone(),
            },
            install: install_id(&running.machine.identity.machine_id, state),
            memory: Mutex::new(Memory::read(state.join("notified.json"))),
            pusher: OnceLock::new(),
        }
    }

    /// `None` when its key cannot be had: that was said once.
    fn pusher(&self) -> Option<&Pusher> {
        let pusher = self.pusher.get_or_init(|| {
            let contact = env::get(env::PUSH_CONTACT).unwrap_or_else(|| CONTACT.to_owned());
            let vapid = Vapid::open(&self.notifier.folder.join("push.pem"), contact);
            let pusher = vapid.map_err(|error| error.to_string()).and_then(|vapid| {
                Pusher::new(vapid, test_push()).map_err(|error| error.to_string())
            });
            pusher
                .inspect_err(|reason| warn!(%reason, "no device can be told by push messages"))
                .ok()
        });
        pusher.as_ref()
    }

    /// Says with which key devices subscribe to us. Whether that stands.
    async fn offer(&self, client: &OwnerClient, worker: &Told) -> bool {
        let Some(pusher) = self.pusher() else {
            return true;
        };
        let args = json!({
            "token": worker.token.expose(),
            "installId": self.install,
            "publicKey": pusher.public_key(),
        });
        match client.mutation("push:offer", args).await {
            Ok(stands) => stands == true,
            // Not approved, or a deployment without it: what else there is to tell is told all the same.
            Err(error) => {
                warn!(worker = %worker.name, %error, "the key for push messages is not made known");
                true
            }
        }
    }

    /// To every device that has asked for it.
    async fn push(&self, client: &OwnerClient, worker: &Told, id: &str, notice: &Notice) {
        let Some(pusher) = self.pusher() else { return };
        let args = json!({ "token": worker.token.expose(), "installId": self.install });
        let targets = client.query("push:targets", args).await.and_then(|found| {
            serde_json::from_value::<Vec<Subscription>>(found)
                .map_err(|error| ClientError::Server(error.to_string()))
        });
        let targets = match targets {
            Ok(targets) => targets,
            Err(error) => {
                warn!(worker = %worker.name, %error, "whom to tell by push messages is not known");
                return;
            }
        };
        let delivery = delivery(id, notice);
        for target in targets {
            let (worker, install) = (worker.clone(), self.install.clone());
            pusher.send(target, delivery.clone(), |endpoint| async move {
                if let Err(error) = forget(&worker, &install, &endpoint).await {
                    warn!(worker = %worker.name, %error, "a subscription that is gone is kept");
                }
            });
        }
    }

    fn knows(&self, id: &str) -> bool {
        self.memory().ids.iter().any(|known| known == id)
    }

    fn remember(&self, id: String) {
        self.memory().add(id);
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what may take its time.
    async fn say(&self, worker: &Told, notice: &Notice) {
        if worker.notify.desktop
            && let Err(reason) = self.notifier.desktop(notice).await
        {
            warn!(worker = %worker.name, %reason, "the desktop could not be told");
        }
        if let Err(reason) = self.notifier.program(&worker.notify.command, notice).await {
            warn!(worker = %worker.name, %reason, "the notify_command failed");
        }
    }
}

/// What was told: the newest last, in a file, because a restart is no news.
struct Memory {
    ids: VecDeque<String>,
    file: PathBuf,
}

impl Memory {
    fn read(file: PathBuf) -> Self {
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        // One that is damaged costs a notice that is told twice.
        let ids = serde_json::from_str(&kept).unwrap_or_default();
        Self { ids, file }
    }

    fn add(&mut self, id: String) {
        self.ids.push_back(id);
        while self.ids.len() > REMEMBERED {
            self.ids.pop_front();
        }
        let text = serde_json::to_vec(&self.ids).unwrap_or_default();
        if let Err(error) = write_private_unsynced(&self.file, &text) {
            warn!(%error, "what was told is not written down");
        }
    }
}

/// One of a deployment's workers.
struct Heard {
    worker: Told,
    /// Over reconnects, so that what ends while the deployment is away is told when it is back.
    look: Look,
    teller: Teller,
}

impl Heard {
    fn new(means: &Arc<Means>, worker: Told) -> Self {
        let (means, telling) = (Arc::clone(means), worker.clone());
        let teller = Teller::start(move |notice| {
            let (means, worker) = (Arc::clone(&means), telling.clone());
            async move { means.say(&worker, &notice).await }
        });
        Self {
            worker,
            look: Look::default(),
            teller,
        }
    }
}

async fn keep_telling(means: Arc<Means>, url: String, workers: Vec<Told>) {
    let workers = workers.into_iter();
    let mut workers: Vec<_> = workers.map(|worker| Heard::new(&means, worker)).collect();
    let mut pause = Pause(AGAIN);
    loop {
        let mut served = false;
        if let Err(reason) = tell(&means, &url, &mut workers, &mut served).await {
            warn!(%url, %reason, "what there is to tell is not heard of");
        }
        tokio::time::sleep(pause.after(served)).await;
    }
}

/// The next one between two connections.
struct Pause(Duration);

impl Pause {
    /// Longer and longer while none serves, and short after one that has. How it ended says nothing about that: by a failure, as
    /// all of them.
    fn after(&mut self, served: bool) -> Duration {
        let pause = if served { AGAIN } else { self.0 };
        self.0 = (pause * 2).min(AGAIN_AT_MOST);
        pause
    }
}

/// Until the connection ends. It has served once a worker's notices were heard over it.
async fn tell(
    means: &Means,
    url: &str,
    workers: &mut [Heard],
    served: &mut bool,
) -> Result<(), ClientError> {
    let client = OwnerClient::connect_without_identity(url, TIMEOUT).await?;
    let (heard, mut hear) = mpsc::channel(workers.len().max(1));
    let mut listening = JoinSet::new();
    for (at, Heard { worker, .. }) in workers.iter().enumerate() {
        let args = json!({ "token": worker.token.expose(), "installId": means.install });
        let mut changes = client.subscribe("notices:list", args);
        let heard = heard.clone();
        listening.spawn(async move {
            while let Some(change) = changes.recv().await {
                if heard.send((at, change)).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(heard);
    let mut again = tokio::time::interval(LOOK_AGAIN);
    let mut unoffered: BTreeSet<usize> = (0..workers.len())
        .filter(|&at| workers[at].worker.notify.push)
        .collect();
    loop {
        tokio::select! {
            change = hear.recv() => {
                let Some((at, change)) = change else { return Ok(()) };
                match change {
                    Ok(value) => {
                        workers[at].look.hear(serde_json::from_value(value).map_err(|error| ClientError::Server(error.to_string()))?, Instant::now());
                        *served = true;
                        consider(means, &client, &mut workers[at]).await?;
                    }
                    // Revoked, or not known any more: its own actor says so.
                    Err(ClientError::Refused { .. } | ClientError::Unauthorized { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            _ = again.tick() => for (at, heard) in workers.iter_mut().enumerate() {
                if unoffered.contains(&at) && means.offer(&client, &heard.worker).await {
                    unoffered.remove(&at);
                }
                consider(means, &client, heard).await?;
            },
        }
    }
}

/// Tells what is news and is looked at by nobody.
async fn consider(
    means: &Means,
    client: &OwnerClient,
    heard: &mut Heard,
) -> Result<(), ClientError> {
    let Heard {
        worker,
        look,
        teller,
    } = heard;
    let is_quiet = worker.notify.quiet.is_some_and(|quiet| {
        let now = jiff::Zoned::now();
        quiet.covers(now.hour() as u16 * 60 + now.minute() as u16)
    });
    let news = look.news(worker, is_quiet, Instant::now(), |id| means.knows(id));
    for News {
        id,
        notice,
        is_overdue,
    } in news
    {
        // Settled only once this is answered: a connection that is lost here must not lose the notice.
        if is_overdue || !is_looked_at(client, worker, &notice.session).await? {
            // Those before it are still being told: it is looked at again.
            let Some(place) = teller.place() else {
                return Ok(());
            };
            means.remember(id.clone());
            info!(worker = %worker.name, session = %notice.session, event = ?notice.event, "telling its owner");
            if worker.notify.push {
                means.push(client, worker, &id, &notice).await;
            }
            place.send(notice.clone());
        }
        look.settle(id, &notice);
    }
    Ok(())
}

/// What a device shows, and opens. The same id is the same notification there, also one that its open page has shown.
fn delivery(id: &str, notice: &Notice) -> Delivery {
    let text = json!({
        "schema": 1,
        "id": id,
        "event": notice.event,
        "kind": notice.kind,
        "worker": notice.worker,
        "session": notice.session,
        "title": notice.title.chars().take(TITLE_CHARS).collect::<String>(),
    });
    let is_urgent = notice.event == Event::Waiting;
    Delivery {
        text: text.to_string(),
        topic: notice.session.clone(),
        ttl: if is_urgent { WAITING_TTL } else { ENDED_TTL },
        is_urgent,
    }
}

/// Over a connection of its own: the one that was told over may be gone by now.
async fn forget(worker: &Told, install: &str, endpoint: &str) -> Result<(), ClientError> {
    let client = OwnerClient::connect_without_identity(worker.url.as_str(), TIMEOUT).await?;
    let args = json!({
        "token": worker.token.expose(),
        "installId": install,
        "endpoint": endpoint,
    });
    client.mutation("push:gone", args).await?;
    Ok(())
}

#[cfg(debug_assertions)]
fn test_push() -> Option<url::Url> {
    env::get(env::TEST_PUSH)?.parse().ok()
}

#[cfg(not(debug_assertions))]
fn test_push() -> Option<url::Url> {
    None
}

async fn is_looked_at(
    client: &OwnerClient,
    worker: &Told,
    session: &str,
) -> Result<bool, ClientError> {
    let args = json!({ "token": worker.token.expose(), "sessionId": session });
    Ok(client.query("viewers:looking", args).await? == true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_served_makes_the_pause_after_it_short_again() {
        let mut pause = Pause(AGAIN);
        assert_eq!(pause.after(false), AGAIN);
        assert_eq!(pause.after(false), AGAIN * 2);
        for _ in 0..8 {
            pause.after(false);
        }
        assert_eq!(pause.after(false), AGAIN_AT_MOST);
        assert_eq!(pause.after(true), AGAIN);
        assert_eq!(pause.after(false), AGAIN * 2);
    }

    #[test]
    fn what_was_told_is_remembered_over_a_restart_and_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notified.json");
        let mut memory = Memory::read(file.clone());
        for at in 0..REMEMBERED + 10 {
            memory.add(format!("r{at}"));
        }
        let again = Memory::read(file.clone());
        assert_eq!(again.ids.len(), REMEMBERED);
        assert!(again.ids.contains(&format!("r{}", REMEMBERED + 9)));
        std::fs::write(&file, "{").unwrap();
        assert!(Memory::read(file).ids.is_empty());
    }
}
