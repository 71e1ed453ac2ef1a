//! The composition root: the only place that knows which adapter stands behind which port.

use std::path::Path;
use std::sync::Arc;

use orchestrator_actors::domain::ids::{DeploymentUrl, WorkerDir};
use orchestrator_actors::domain::token::WorkerToken;
use orchestrator_actors::machine::{
    Desired, MachineArgs, MachineHandle, Ports, Settings, StartIdentity, WorkerSpec,
};
use orchestrator_actors::ports::embedded::Embedded;
use orchestrator_actors::ports::link::LinkStatus;
use orchestrator_actors::ports::outbox::Outbox;
use serde_json::json;

use super::assistants::Assistants;
use super::error::RunError;
use super::options::{Mode, RunOptions};
use crate::adapters::clock::SystemClock;
use crate::adapters::convex::{ClientError, ConvexLinks, OwnerClient};
use crate::adapters::identity::{CHATROOM_FILE, Machine, boot_id, install_id};
use crate::adapters::outbox::FileOutbox;
use crate::adapters::tools::{self, glance};
use crate::config::{Millis, Paths, WorkersConfig};
use crate::ui::format::plural;

/// This machine, as a deployment gets to know it.
#[derive(Clone, Debug)]
pub struct KnownMachine {
    pub identity: Machine,
    pub id: String,
    pub name: String,
    pub tools: Vec<String>,
}

/// Reads `machine.json`, making it on first use, and looks which assistants are installed.
pub fn machine(paths: &Paths, name: Option<&str>) -> Result<KnownMachine, String> {
    crate::config::paths::private_dir(&paths.config).map_err(|error| error.to_string())?;
    let adopt = paths.home.join(CHATROOM_FILE);
    let identity = Machine::load_or_create(&paths.machine_file(), Some(&adopt));
    Ok(known(
        paths,
        identity.map_err(|error| error.to_string())?,
        name,
    ))
}

/// The same for a supervisor: a damaged file does not stop it. `id` is what the machine is called elsewhere; the second
/// value says what was done about damage.
pub(super) fn machine_whatever_happened(
    paths: &Paths,
    name: Option<&str>,
    id: Option<uuid::Uuid>,
) -> Result<(KnownMachine, Option<String>), String> {
    crate::config::paths::private_dir(&paths.config).map_err(|error| error.to_string())?;
    let adopt = paths.home.join(CHATROOM_FILE);
    let (identity, notice) = Machine::load_or_repair(&paths.machine_file(), Some(&adopt), id)
        .map_err(|error| error.to_string())?;
    Ok((known(paths, identity, name), notice))
}

/// What these tokens call the machine, if they agree.
pub(super) fn named_by<'t>(
    tokens: impl IntoIterator<Item = &'t WorkerToken>,
) -> Option<uuid::Uuid> {
    let mut machines = tokens.into_iter().map(WorkerToken::machine);
    let first = machines.next()?;
    machines.all(|machine| machine == first).then_some(())?;
    first.as_str().parse().ok()
}

/// The same of an identity that may not have been written down yet.
pub(super) fn known(paths: &Paths, identity: Machine, name: Option<&str>) -> KnownMachine {
    let search = tools::Search::from_environment(paths);
    let tools = glance(&search, &identity.available_tools);
    KnownMachine {
        id: identity.id().to_string(),
        name: name.unwrap_or(identity.display_name()).to_owned(),
        tools: tools
            .iter()
            .filter(|tool| tool.is_found())
            .map(|tool| tool.name.clone())
            .collect(),
        identity,
    }
}

/// Makes the machine known to a deployment, or brings what is known up to date.
pub async fn register_machine(
    client: &OwnerClient,
    machine: &KnownMachine,
) -> Result<(), ClientError> {
    let args = json!({
        "machineId": machine.id,
        "name": machine.name,
        "hostname": machine.identity.hostname,
        "os": machine.identity.os,
        "tools": machine.tools,
    });
    client.mutation("machines:register", args).await.map(drop)
}

/// Short enough to read aloud, long enough never to meet another one.
pub fn new_worker_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id[..12].to_owned()
}

/// The tree, and what of its ports is looked at from outside.
pub(super) struct Tree {
    pub handle: MachineHandle,
    links: Arc<ConvexLinks>,
    outbox: Arc<FileOutbox>,
}

impl Tree {
    /// Records that wait for an acknowledgement.
    pub fn outbox_depth(&self) -> usize {
        self.outbox.depth()
    }

    /// What of the outbox could not be read, for people.
    pub fn outbox_damage(&self) -> Option<String> {
        self.outbox.damage().map(ToString::to_string)
    }

    /// Only what these workers have in the outbox counts from now on; what is left of others, for people.
    pub async fn outbox_serves(&self, desired: &Desired) -> Option<String> {
        let workers = desired.workers.iter().map(|worker| worker.id().clone());
        let (outbox, workers) = (Arc::clone(&self.outbox), workers.collect());
        // It waits for whoever writes to the disk.
        let served = tokio::task::spawn_blocking(move || outbox.serve(workers));
        let (workers, records) = served.await.ok()?;
        (records > 0).then(|| {
            let finishes = plural(records, "finished turn");
            let workers = plural(workers, "worker");
            format!(
                "the outbox has {finishes} of {workers} not configured any more: kept, and sent when configured again"
            )
        })
    }

    /// Where a link stands; asks the link itself, so it works while the tree is stuck.
    pub fn link_status(&self, url: &DeploymentUrl) -> LinkStatus {
        self.links.link(url).status()
    }

    /// Lets go of links to deployments that nobody is configured for any more.
    pub fn drop_unused_links(&self, desired: &Desired) {
        let urls = desired.workers.iter().map(|worker| &worker.url);
        self.links.keep(&urls.collect());
    }
}

/// Starts the tree over the real adapters.
pub(super) async fn start_tree(
    options: &RunOptions,
    machine: &KnownMachine,
    desired: Desired,
    deployment: Option<Arc<dyn Embedded>>,
    assistants: &Assistants,
) -> Result<Tree, RunError> {
    let outbox = open_outbox(&options.paths.outbox()).await?;
    let links = ConvexLinks::new(Arc::clone(&outbox) as Arc<dyn Outbox>);
    let links = Arc::new(match options.append_spacing {
        Some(spacing) => links.with_append_spacing(spacing),
        None => links,
    });
    let state = std::fs::canonicalize(&options.paths.state).map_err(|error| {
        RunError::StateFolder(format!(
            "cannot use the state folder {}: {error}",
            options.paths.state.display()
        ))
    })?;
    let args = MachineArgs {
        name: machine.name.clone(),
        machine_id: machine.identity.id(),
        ports: Ports {
            agents: assistants.agents(),
            roles: assistants.roles(),
            links: Arc::clone(&links) as _,
            outbox: Arc::clone(&outbox) as _,
            clock: Arc::new(SystemClock),
            stores: assistants.stores(),
            workshops: assistants.workshops(),
        },
        desired,
        settings: settings(options),
        identity: StartIdentity {
            install_id: install_id(&machine.identity.machine_id, &state),
            start_id: uuid::Uuid::now_v7().to_string(),
            boot_id: boot_id(),
            hostname: machine.identity.hostname.clone(),
            os: machine.identity.os.clone(),
            tools: machine.tools.clone(),
            take_over: options.take_over,
        },
        deployment,
    };
    let handle = orchestrator_actors::machine::start(args)
        .await
        .map_err(|error| RunError::Setup(format!("the tree cannot be started: {error}")))?;
    Ok(Tree {
        handle,
        links,
        outbox,
    })
}

fn settings(options: &RunOptions) -> Settings {
    let usual = Settings::default();
    let interval = match &options.mode {
        Mode::Workers(loaded) => loaded.config.sync_interval_ms,
        Mode::Local(_) => None,
    };
    Settings {
        beat_ms: interval.unwrap_or(usual.beat_ms),
        ..usual
    }
}

async fn open_outbox(path: &Path) -> Result<Arc<FileOutbox>, RunError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || FileOutbox::open(&path)).await;
    match opened {
        Ok(Ok(outbox)) => Ok(Arc::new(outbox)),
        Ok(Err(error)) => Err(RunError::StateFolder(error.to_string())),
        Err(error) => Err(RunError::Setup(format!("cannot open the outbox: {error}"))),
    }
}

/// A configuration in the tree's words.
pub(super) fn desired(config: &WorkersConfig, idle_timeout_ms: Option<Millis>) -> Desired {
    let workers = config.workers.iter().map(|entry| WorkerSpec {
        name: entry.name.clone(),
        token: Arc::clone(&entry.token),
        directory: WorkerDir::canonical(entry.directory.clone()),
        url: entry.url.clone(),
        idle_timeout_ms: idle_timeout_ms.unwrap_or(entry.idle_timeout_ms),
        max_sessions: entry.max_sessions,
        paused: false,
        on_interrupt: entry.on_interrupt,
        tasks: Arc::clone(&entry.tasks),
        permissions: entry.permissions.clone(),
        answer_timeout_ms: entry.answer_timeout_ms,
        broken: entry.broken.clone(),
    });
    Desired {
        workers: workers.collect(),
    }
}

impl orchestrator_actors::machine::Links for ConvexLinks {
    fn link(&self, url: &DeploymentUrl) -> Arc<dyn orchestrator_actors::ports::link::Link> {
        Self::link(self, url)
    }
}
