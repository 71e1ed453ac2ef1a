//! Any assistant of this machine behind the [`Roles`] port: found anew at each start, in the worker's own directory, under
//! a warden with the lease, the marker and the environment that a chat's assistant has. The prompt goes in through stdin,
//! so that it is in no argument list; what is printed is kept as last lines, without secrets.
//!
//! It takes one of the machine's places for assistants, as a chat's does. A program is only ever one that detection found under a known name. Nothing here knows a deployment.

mod invocation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_actors::domain::assistant::{AgentError, ExitReport};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::role::{Player, RoleSpec, Roles};
use tokio::time::Instant;

use crate::adapters::opencode::{HermeticSettings, RolePlace, Room};
use crate::adapters::process::directories;
use crate::adapters::process::lease::{DirectoryUse, LeaseSpec, session_lock};
use crate::adapters::process::leftovers;
use crate::adapters::process::marker::{Marker, file_key};
use crate::adapters::process::{ExitRecord, SpawnError, Ward, WardSpec, environment, rss_bytes};
use crate::adapters::tools::{self, Places, Search, State, Tool};

/// A role's last assistant may be just ending.
const LEASE: Duration = Duration::from_secs(5);
const LEASE_RETRY: Duration = Duration::from_millis(50);
/// For a place, while chats' assistants are asked to go.
const PLACE: Duration = Duration::from_secs(30);
/// From TERM to KILL, on a stop.
const TERM_MS: u64 = 2_000;

#[derive(Clone, Debug)]
pub struct RoleConfig {
    pub search: Search,
    /// Where children leave their traces: the chats' own places, so that one sweep finds all.
    pub traces: leftovers::Places,
    pub env_passthrough: Vec<String>,
    /// What chats' assistants leave of the machine.
    pub room: Room,
    /// With `--demo`: a home of its own, and the scripted model.
    pub hermetic: Option<HermeticSettings>,
    /// For the commands by which a role gets its tasks: where this installation keeps its files, no secret among it.
    pub own: BTreeMap<String, String>,
}

/// Starts assistants for roles.
#[derive(Clone, Debug)]
pub struct ToolRoles {
    config: RoleConfig,
}

impl ToolRoles {
    pub fn new(config: RoleConfig) -> Self {
        Self { config }
    }
}

impl Roles for ToolRoles {
    fn start(&self, spec: RoleSpec) -> Pending<Result<Box<dyn Player>, AgentError>> {
        let config = self.config.clone();
        Box::pin(async move {
            let (ward, secrets) = describe(&config, &spec).await?;
            let place = config.room.take(PLACE).await.map_err(AgentError::Boot)?;
            let ward = spawn(&config.room, ward).await?;
            Ok(Box::new(Playing {
                ward,
                secrets,
                _place: place,
            }) as Box<dyn Player>)
        })
    }
}

async fn describe(
    config: &RoleConfig,
    spec: &RoleSpec,
) -> Result<(WardSpec, Vec<String>), AgentError> {
    let casting = &spec.casting;
    let invocation = invocation::of(&casting.tool).ok_or_else(|| {
        AgentError::Missing(format!("this version cannot start {}", casting.tool))
    })?;
    let directory = directory(spec)?;
    let program = find(config, &casting.tool).await?;
    let mut env = environment::allowed(environment::ours(), &config.env_passthrough);
    if let Some(hermetic) = &config.hermetic {
        hermetic.apply(&mut env);
    }
    // As detection sees it: a script may need the interpreter beside it.
    if let Ok(path) = Places::new(&config.search).path_for(&program).into_string() {
        env.insert("PATH".to_owned(), with_our_commands(path));
    }
    env.extend(config.own.clone());
    let fixed = invocation.env.iter();
    env.extend(fixed.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    if let Some(directory) = directory.to_str() {
        env.insert("PWD".to_owned(), directory.to_owned());
    }
    let secrets = environment::secrets(&env);

    // The slashes are in no chat's id, so the two never share a lock.
    let name = format!("role/{}/{}", spec.worker, casting.part);
    let key = file_key(&name);
    let traces = &config.traces;
    let lock = directories::look_for_lock(&traces.locks, spec.inside.as_path())
        .await
        .map_err(|error| AgentError::Boot(error.to_string()))?;
    let mut ward = WardSpec::new(&config.search.warden, program, directory);
    ward.args = invocation.args.iter().map(|&arg| arg.to_owned()).collect();
    ward.env = env;
    ward.stdin = Some(casting.prompt.clone());
    ward.lease = LeaseSpec {
        session: Some(session_lock(&traces.locks, &key)),
        directory: Some((lock, DirectoryUse::Shared)),
    };
    ward.marker = Marker::new(&traces.prefix, &name);
    ward.temporary = Some(traces.temporary.join(&key));
    ward.journal = Some((traces.journal.clone(), name));
    ward.answers_on_stdout = true;
    Ok((ward, secrets))
}

/// A role is told to run `orchestrator wait-for-task`: it is found, last of all, where this program is.
fn with_our_commands(path: String) -> String {
    let own = std::env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent).and_then(Path::to_str);
    match folder {
        Some(folder) if !path.split(':').any(|known| known == folder) => {
            format!("{path}:{folder}")
        }
        _ => path,
    }
}

/// The directory that was asked for, if it is the worker's own or below it, links resolved.
fn directory(spec: &RoleSpec) -> Result<PathBuf, AgentError> {
    let asked = &spec.casting.directory;
    let directory = asked
        .canonicalize()
        .ok()
        .filter(|path| path.is_dir())
        .ok_or_else(|| {
            AgentError::Misconfigured(format!(
                "the working directory {} does not exist",
                asked.display()
            ))
        })?;
    if !directory.starts_with(spec.inside.as_path()) {
        return Err(AgentError::Misconfigured(format!(
            "{} is not below the worker's directory {}",
            directory.display(),
            spec.inside
        )));
    }
    Ok(directory)
}

/// Where the tool is now: it may have been removed, or moved, since it was reported.
async fn find(config: &RoleConfig, tool: &str) -> Result<PathBuf, AgentError> {
    let search = config.search.clone();
    let glanced = tokio::task::spawn_blocking(move || tools::glance(&search, &[])).await;
    if let Ok(looked) = glanced
        && let Ok(program) = program_of(&looked, tool)
    {
        return Ok(program);
    }
    // The thorough look knows the PATH of a login shell, too.
    program_of(&tools::inspect(&config.search, &[]).await, tool).map_err(AgentError::Missing)
}

fn program_of(looked: &[Tool], name: &str) -> Result<PathBuf, String> {
    let found = looked.iter().find(|tool| tool.name == name);
    match found.map(|tool| &tool.state) {
        Some(State::Found { path, .. }) => Ok(path.clone()),
        Some(State::Broken { path, reason, .. }) => {
            Err(format!("{name} at {} is broken: {reason}", path.display()))
        }
        Some(State::Absent) | None => Err(format!("{name} is not installed on this machine")),
    }
}

async fn spawn(room: &Room, spec: WardSpec) -> Result<Ward, AgentError> {
    let mut lease_until = None;
    loop {
        let slot = room.start().await;
        // The wait for it does not count.
        let until = *lease_until.get_or_insert_with(|| Instant::now() + LEASE);
        match Ward::spawn(spec.clone()).await {
            Ok(ward) => return Ok(ward),
            Err(SpawnError::Busy(held)) if Instant::now() >= until => {
                return Err(AgentError::Leased(format!(
                    "another process still plays this role or works in this directory: it holds {held}"
                )));
            }
            Err(SpawnError::Busy(_)) => {
                drop(slot);
                tokio::time::sleep(LEASE_RETRY).await;
            }
            Err(SpawnError::Shortage(message) | SpawnError::Failed(message)) => {
                return Err(AgentError::Boot(message));
            }
        }
    }
}

struct Playing {
    ward: Ward,
    secrets: Vec<String>,
    /// Free again when the child is gone.
    _place: RolePlace,
}

impl Player for Playing {
    fn pid(&self) -> u32 {
        self.ward.pid()
    }

    fn rss_bytes(&self) -> u64 {
        rss_bytes(self.ward.pid())
    }

    fn exited(&self) -> Pending<ExitReport> {
        let exited = self.ward.exited();
        let secrets = self.secrets.clone();
        Box::pin(async move { report(exited.await, &secrets) })
    }

    fn stop(&self) -> Pending<()> {
        let stopped = self.ward.stop(TERM_MS);
        Box::pin(async move {
            stopped.await;
        })
    }
}

fn report(record: ExitRecord, secrets: &[String]) -> ExitReport {
    let lines = record.last_lines.iter();
    ExitReport {
        code: record.code,
        signal: record.signal,
        why: record
            .warden_lost
            .then(|| "the process that watches over it was killed".to_owned()),
        last_lines: lines
            .map(|line| environment::redacted(line, secrets))
            .collect(),
    }
}
