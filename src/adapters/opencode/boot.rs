//! From nothing to a running OpenCode with its agent and pump: a place of the machine's, a boot slot, lease and sweep (by
//! the warden), start. When it can be used is [`ready`](super::ready)'s to say. What the wait in a queue takes counts in no
//! deadline; what the machine is short of for a moment is waited for.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use orchestrator_actors::ports::agent::{AgentError, ExitReport, OpenSpec, Opened, Waiting};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::agent::OpenCodeAgent;
use super::misconfigured::{self, before_echo};
use super::places::InUse;
use super::pump::{Pump, Watched};
use super::ready::{Ready, get_ready};
use super::settings::Store;
use super::{PINNED_VERSION, Shared, health};
use crate::adapters::process::directories;
use crate::adapters::process::journal::Journal;
use crate::adapters::process::lease::Held;
use crate::adapters::process::lease::{DirectoryUse, Lease, LeaseError, LeaseSpec, session_lock};
use crate::adapters::process::marker::{Marker, file_key};
use crate::adapters::process::{ExitRecord, SpawnError, Ward, WardSpec, environment, is_shortage};

/// Events that wait for the session's actor; beyond it they are merged in the pump.
const EVENTS: usize = 64;

/// How often a busy lease is tried.
const LEASE_RETRY: Duration = Duration::from_millis(50);

/// How often a directory is looked at in which a task works.
const TASK_RETRY: Duration = Duration::from_millis(100);

/// How often a start is tried for which the machine had too little of something.
const SHORTAGE_RETRY: Duration = Duration::from_millis(500);

/// How often a missing working directory is looked for.
const DIRECTORY_RETRY: Duration = Duration::from_millis(500);

/// From TERM to KILL of an OpenCode that does not answer.
const HUNG_TERM_MS: u64 = 500;

/// How many lines of a failed start its error shows.
const SHOWN_LINES: usize = 8;

pub async fn open(shared: Arc<Shared>, spec: OpenSpec) -> Result<Opened, AgentError> {
    let asked = Instant::now();
    let directory = spec.directory.as_path();
    directory_there(directory, &spec.waiting).await;
    let mut shortage = Shortage::new(&shared, &spec.waiting);
    let store = Store::of_worker(&shared.config.data_dir, spec.worker.as_str());
    while let Err(error) = store.id() {
        let message = format!("could not prepare the worker's data folder: {error}");
        if !is_shortage(&error) {
            return Err(AgentError::Boot(message));
        }
        shortage.wait(message).await?;
    }
    let password = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    let lock = directories::look_for_lock(&shared.config.locks(), directory)
        .await
        .map_err(|error| AgentError::Boot(error.to_string()))?;
    let (ward_spec, secrets) = describe(&shared, &spec, &store, &password, &lock)?;

    let shutting_down = || AgentError::Boot("the supervisor is shutting down".to_owned());
    let (place, turn, mut ward, _slot) = loop {
        // From here on no task of ours takes the directory.
        let _waiter = shared.directories.wait(&lock);
        directory_free(&lock, &spec.waiting).await?;
        let place = shared.places.take(&spec.waiting).await;
        let place = place.ok_or_else(shutting_down)?;
        let turn = shared.first_boots.wait(&spec.worker).await;
        let spawned = spawn(&shared, &spec, &ward_spec, &lock, &mut shortage, asked).await?;
        if let Some((ward, slot)) = spawned {
            break (place, turn, ward, slot);
        }
        // A task of another process was faster: the place is others' meanwhile.
    };
    drop(shortage);
    let started = Instant::now();
    let lines = ward.take_lines();
    let ready = get_ready(&shared, &ward, lines, directory, password, started).await;
    let Ready { api, inputs, pulse } = match ready {
        Ok(ready) => ready,
        Err(error) => {
            let record = ward.stop(500).await;
            return Err(with_last_words(error, &record, &secrets));
        }
    };
    turn.succeeded();
    if let Err(error) = store.mark_used() {
        tracing::warn!(%error, "could not mark the store as used");
    }
    tracing::info!(
        session = %spec.session, incarnation = spec.incarnation, pid = ward.pid(), swept = ward.swept(),
        took_ms = started.elapsed().as_millis() as u64, "opencode is ready"
    );

    let (events_to, events) = mpsc::channel(EVENTS);
    let (commands_to, commands) = mpsc::channel(16);
    let watched = Watched {
        pid: ward.pid(),
        most_memory: shared.config.most_memory,
        in_use: InUse::new(),
    };
    place.lived_in(watched.in_use.clone(), commands_to.clone());
    let ward = Arc::new(ward);
    let hangs = health::hangs(api.clone(), pulse, shared.config.deadlines);
    let ended = end_of(ward.exited(), hangs, Arc::downgrade(&ward));
    let listed = shared.reached.list(
        spec.worker.clone(),
        spec.session.clone(),
        ward.pid(),
        api.clone(),
    );
    let exited = async move {
        let (record, hung) = ended.await;
        drop((place, listed));
        exit_report(&record, hung)
    };
    let pump = Pump::new(api.clone(), watched, events_to);
    tokio::spawn(pump.run(commands, inputs, exited));
    let agent = OpenCodeAgent::new(
        ward,
        api,
        spec.session,
        commands_to,
        shared.config.deadlines,
        {
            let (shared, worker) = (shared.clone(), spec.worker);
            move |choices| shared.learned.learn(worker, choices)
        },
    );
    Ok(Opened {
        agent: Box::new(agent),
        events,
    })
}

/// Waits for the child's end, and ends it when it hangs.
async fn end_of(
    exited: impl Future<Output = ExitRecord>,
    hangs: impl Future<Output = String>,
    ward: Weak<Ward>,
) -> (ExitRecord, Option<String>) {
    let mut exited = std::pin::pin!(exited);
    let reason = tokio::select! {
        record = &mut exited => return (record, None),
        reason = hangs => reason,
    };
    if let Some(ward) = ward.upgrade() {
        tracing::warn!(pid = ward.pid(), reason, "opencode hangs and is ended");
        drop(ward.stop(HUNG_TERM_MS));
    }
    (exited.await, Some(reason))
}

/// The child and what of its environment must never be shown.
fn describe(
    shared: &Shared,
    spec: &OpenSpec,
    store: &Store,
    password: &str,
    directory_lock: &Path,
) -> Result<(WardSpec, Vec<String>), AgentError> {
    let config = &shared.config;
    let utf8 = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            AgentError::Misconfigured(format!(
                "the path {} is not valid UTF-8, which OpenCode needs",
                path.display()
            ))
        })
    };
    utf8(spec.directory.as_path())?;
    let mut env = environment::allowed(environment::ours(), &config.env_passthrough);
    if let Some(hermetic) = &config.hermetic {
        hermetic.apply(&mut env);
    }
    env.insert("OPENCODE_DB".to_owned(), utf8(&store.database())?);
    env.insert("OPENCODE_SERVER_PASSWORD".to_owned(), password.to_owned());
    // A supervised version is changed by its supervisor.
    env.insert("OPENCODE_DISABLE_AUTOUPDATE".to_owned(), "1".to_owned());
    env.insert("PWD".to_owned(), utf8(spec.directory.as_path())?);
    let secrets = environment::secrets(&env);

    let session = file_key(spec.session.as_str());
    let locks = config.locks();
    let mut ward = WardSpec::new(&config.warden, &config.binary, spec.directory.as_path());
    ward.args = ["serve", "--hostname", "127.0.0.1", "--port", "0"]
        .map(str::to_owned)
        .to_vec();
    ward.env = env;
    ward.lease = LeaseSpec {
        session: Some(session_lock(&locks, &session)),
        directory: Some((directory_lock.to_owned(), DirectoryUse::Shared)),
    };
    ward.marker = Marker::new(&shared.markers, spec.session.as_str());
    ward.temporary = Some(config.temporary().join(session));
    ward.journal = Some((
        Journal::in_state_folder(&config.state_dir),
        spec.session.to_string(),
    ));
    Ok((ward, secrets))
}

/// Waits for the directory: OpenCode would accept one that does not exist. What is queued is not the cause and is not failed
/// for it; the supervisor looks at directories, too, and takes the worker down.
async fn directory_there(directory: &Path, waiting: &Waiting) {
    let is_there = || async {
        let found = tokio::fs::metadata(directory).await;
        found.is_ok_and(|found| found.is_dir())
    };
    if is_there().await {
        return;
    }
    let shown = directory.display();
    tracing::warn!(directory = %shown, "a start waits for its working directory");
    waiting.set(Some(format!(
        "waits: the working directory {shown} does not exist: make it again, or remove this worker"
    )));
    while !is_there().await {
        tokio::time::sleep(DIRECTORY_RETRY).await;
    }
    waiting.set(None);
}

/// Waits until no task works in the directory. Only a task takes it alone, so a lock that cannot be shared is a task's. To
/// look makes no file: what is not there is held by nobody.
async fn directory_free(lock: &Path, waiting: &Waiting) -> Result<(), AgentError> {
    let wanted = LeaseSpec {
        session: None,
        directory: Some((lock.to_owned(), DirectoryUse::Shared)),
    };
    loop {
        let (wanted, lock) = (wanted.clone(), lock.to_owned());
        let look = move || match lock.try_exists() {
            Ok(false) => Ok(()),
            _ => Lease::try_take(&wanted).map(drop),
        };
        let taken = tokio::task::spawn_blocking(look).await;
        match taken.map_err(|error| AgentError::Boot(error.to_string()))? {
            Ok(()) => break,
            Err(LeaseError::Busy(_)) => {
                waiting.set(Some("waits: a task works in this directory".to_owned()));
                tokio::time::sleep(TASK_RETRY).await;
            }
            Err(error) => return Err(AgentError::Boot(error.to_string())),
        }
    }
    waiting.set(None);
    Ok(())
}

/// Starts the child as soon as there is a boot slot, the lease is free and the machine can. The slot is held while the
/// answer lives. `None`: a task works in the directory, which can last.
async fn spawn(
    shared: &Shared,
    open: &OpenSpec,
    spec: &WardSpec,
    directory: &Path,
    shortage: &mut Shortage<'_>,
    asked: Instant,
) -> Result<Option<(Ward, tokio::sync::OwnedSemaphorePermit)>, AgentError> {
    let mut lease_until = None;
    loop {
        let slot = shared
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| AgentError::Boot("the supervisor is shutting down".to_owned()))?;
        if lease_until.is_none() {
            tracing::info!(
                session = %open.session, incarnation = open.incarnation,
                waited_ms = asked.elapsed().as_millis() as u64, "opencode is being started"
            );
        }
        match Ward::spawn(spec.clone()).await {
            Ok(ward) => return Ok(Some((ward, slot))),
            Err(SpawnError::Busy(held)) if held.path == directory => return Ok(None),
            Err(SpawnError::Busy(held)) => {
                // The wait for a slot does not count.
                let after = shared.config.deadlines.lease;
                let until = *lease_until.get_or_insert_with(|| Instant::now() + after);
                if Instant::now() >= until {
                    return Err(leased(&held));
                }
                drop(slot);
                tokio::time::sleep(LEASE_RETRY).await;
            }
            Err(SpawnError::Shortage(message)) => {
                drop(slot);
                shortage.wait(message).await?;
            }
            Err(SpawnError::Failed(message)) if !shared.config.binary.exists() => {
                return Err(AgentError::Missing(format!(
                    "{message}; set ORCHESTRATOR_OPENCODE_BIN or restart the orchestrator to install OpenCode {PINNED_VERSION}"
                )));
            }
            Err(SpawnError::Failed(message)) => return Err(AgentError::Boot(message)),
        }
    }
}

/// A start's patience with a machine that has too little of something: descriptors, memory, processes.
struct Shortage<'a> {
    shared: &'a Shared,
    waiting: &'a Waiting,
    until: Option<Instant>,
}

impl Drop for Shortage<'_> {
    fn drop(&mut self) {
        self.waiting.set(None);
    }
}

impl<'a> Shortage<'a> {
    fn new(shared: &'a Shared, waiting: &'a Waiting) -> Self {
        Self {
            shared,
            waiting,
            until: None,
        }
    }

    /// Lets an idle child go and waits a moment; an error when it has lasted too long.
    async fn wait(&mut self, message: String) -> Result<(), AgentError> {
        let limit = self.shared.config.deadlines.shortage;
        if self.until.is_none() {
            tracing::warn!(message, "a start waits until the machine can");
            self.waiting.set(Some(format!("waits: {message}")));
        }
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit);
        if Instant::now() >= until {
            return Err(AgentError::Boot(format!(
                "{message}, and so for {} s: the machine or its limits (`ulimit`) have too little for another assistant",
                limit.as_secs()
            )));
        }
        self.shared
            .places
            .ask_one_to_go("the machine has too little for another assistant");
        tokio::time::sleep(SHORTAGE_RETRY).await;
        Ok(())
    }
}

fn leased(held: &Held) -> AgentError {
    let file = held.path.file_name().and_then(|name| name.to_str());
    let what = if file.unwrap_or_default().starts_with("directory") {
        "directory"
    } else {
        "session"
    };
    AgentError::Leased(format!(
        "another process still works for this {what}: it holds {held}"
    ))
}

/// The error of a failed start with what the child said, if that can help.
fn with_last_words(error: AgentError, record: &ExitRecord, secrets: &[String]) -> AgentError {
    let AgentError::Boot(message) = error else {
        return error;
    };
    if let Some(advice) = misconfigured::in_last_lines(&record.last_lines) {
        return AgentError::Misconfigured(advice);
    }
    let ending = match (record.code, record.signal) {
        (Some(code), _) if message.contains("ended before") => format!(" (exit code {code})"),
        (_, Some(signal)) if message.contains("ended before") => format!(" (signal {signal})"),
        _ => String::new(),
    };
    let shown = before_echo(&record.last_lines);
    let lines = &shown[shown.len().saturating_sub(SHOWN_LINES)..];
    let words: Vec<&str> = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(String::as_str)
        .collect();
    let message = if words.is_empty() {
        format!("{message}{ending}")
    } else {
        format!("{message}{ending}; its last lines:\n{}", words.join("\n"))
    };
    // The lines are without secrets; what was said of them may quote one.
    AgentError::Boot(environment::redacted(&message, secrets))
}

fn exit_report(record: &ExitRecord, hung: Option<String>) -> ExitReport {
    let warden = record
        .warden_lost
        .then(|| "the process that watches over it was killed".to_owned());
    ExitReport {
        code: record.code,
        signal: record.signal,
        why: hung.or(warden),
        last_lines: before_echo(&record.last_lines).to_vec(),
    }
}
