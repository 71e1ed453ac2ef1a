//! From nothing to an OpenCode that answers: lease and sweep (by the warden), start, "listening" line, a configuration
//! that is really good, an open event stream, a compatible version. Listening alone proves nothing: OpenCode
//! listens with a broken configuration, too, and answers every call with the error.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::ports::agent::{AgentError, ExitReport, OpenSpec, Opened};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::agent::OpenCodeAgent;
use super::api::{Api, ApiError};
use super::pump::Pump;
use super::settings::Store;
use super::sse::{self, Input};
use super::{PINNED_VERSION, Shared, is_compatible};
use crate::adapters::process::journal::Journal;
use crate::adapters::process::lease::{DirectoryUse, LeaseSpec, session_lock};
use crate::adapters::process::marker::{Marker, file_key};
use crate::adapters::process::{ExitRecord, Line, SpawnError, Ward, WardSpec, environment};

/// Events that wait for the session's actor; beyond it they are merged in the pump.
const EVENTS: usize = 64;

/// Parsed events that wait for the pump.
const INPUTS: usize = 1024;

/// How often a busy lease is tried.
const LEASE_RETRY: Duration = Duration::from_millis(50);

/// How often a machine without descriptors, processes or memory is asked for them again.
const EXHAUSTED_RETRY: Duration = Duration::from_millis(500);

/// How many lines of a failed start its error shows.
const SHOWN_LINES: usize = 8;

pub async fn open(shared: Arc<Shared>, spec: OpenSpec) -> Result<Opened, AgentError> {
    let directory = spec.directory.as_path();
    if !directory.is_dir() {
        // OpenCode would accept a directory that does not exist.
        // Trying again does not help, and nothing crashed: the turn says so, and the next one looks again.
        return Err(AgentError::Misconfigured(format!(
            "the working directory {} does not exist: make it again, or remove this worker",
            directory.display()
        )));
    }
    let store = Store::of_worker(&shared.config.data_dir, spec.worker.as_str());
    store.id().map_err(|error| {
        AgentError::Boot(format!(
            "could not prepare the worker's data folder: {error}"
        ))
    })?;
    let password = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    let (ward_spec, secrets) = describe(&shared, &spec, &store, &password)?;

    let turn = shared.first_boots.wait(&spec.worker).await;
    let (mut ward, _slot) = spawn(&shared, ward_spec).await?;
    let started = Instant::now();
    let lines = ward.take_lines();
    let ready = get_ready(&shared, &ward, lines, directory, password, started).await;
    let (api, inputs) = match ready {
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
    let exited = ward.exited();
    let exited = async move { exit_report(exited.await, &secrets) };
    tokio::spawn(Pump::new(api.clone(), events_to).run(commands, inputs, exited));
    let agent = OpenCodeAgent::new(
        ward,
        api,
        spec.session,
        commands_to,
        shared.config.deadlines,
    );
    Ok(Opened {
        agent: Box::new(agent),
        events,
    })
}

/// The child and what of its environment must never be shown.
fn describe(
    shared: &Shared,
    spec: &OpenSpec,
    store: &Store,
    password: &str,
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
        directory: Some((
            locks.join(directory_lock(spec.directory.as_path())),
            DirectoryUse::Shared,
        )),
    };
    ward.marker = Some(Marker::new(&shared.markers, spec.session.as_str()));
    ward.temporary = Some(config.run_dir.join("tmp").join(session));
    ward.journal = Some((
        Journal::in_state_folder(&config.state_dir),
        spec.session.to_string(),
    ));
    Ok((ward, secrets))
}

/// The name of a directory's lock file.
pub fn directory_lock(directory: &Path) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    let hex = digest[..16].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!("directory-{hex}.lock")
}

/// Starts the child as soon as there is a boot slot and the lease is free. The slot is held while the answer lives.
async fn spawn(
    shared: &Shared,
    spec: WardSpec,
) -> Result<(Ward, tokio::sync::OwnedSemaphorePermit), AgentError> {
    let (mut deadline, mut exhausted_since) = (None, None::<Instant>);
    loop {
        let slot = shared
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| AgentError::Boot("the supervisor is shutting down".to_owned()))?;
        // The wait for a slot does not count.
        let until = *deadline.get_or_insert_with(|| Instant::now() + shared.config.deadlines.lease);
        match Ward::spawn(spec.clone()).await {
            Ok(ward) => return Ok((ward, slot)),
            Err(SpawnError::Busy(path)) if Instant::now() >= until => {
                let what = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                let what = if what.starts_with("directory") {
                    "directory"
                } else {
                    "session"
                };
                return Err(AgentError::Leased(format!(
                    "another process still works for this {what} (it holds {})",
                    path.display()
                )));
            }
            Err(SpawnError::Busy(_)) => {
                drop(slot);
                tokio::time::sleep(LEASE_RETRY).await;
            }
            // Three boots that fail in the same second would cost the turn.
            Err(SpawnError::Exhausted(message)) => {
                drop(slot);
                let started = exhausted_since.get_or_insert_with(Instant::now);
                if started.elapsed() >= shared.config.deadlines.listening {
                    return Err(AgentError::Boot(message));
                }
                tracing::warn!(error = message, "no room for an assistant just now");
                tokio::time::sleep(EXHAUSTED_RETRY).await;
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

async fn get_ready(
    shared: &Shared,
    ward: &Ward,
    lines: Option<mpsc::Receiver<Line>>,
    directory: &Path,
    password: String,
    started: Instant,
) -> Result<(Api, mpsc::Receiver<Input>), AgentError> {
    let deadlines = shared.config.deadlines;
    let url = tokio::select! {
        url = listening(lines, started + deadlines.listening) => url?,
        _ = ward.exited() => {
            return Err(AgentError::Boot("OpenCode ended before it listened".to_owned()));
        }
    };
    let until = Instant::now() + deadlines.ready;
    let directory = directory.to_str().unwrap_or_default();
    let api =
        Api::new(&url, directory, SecretString::from(password)).map_err(|error| refused(&error))?;
    answering(&api, until).await?;

    let version = api.version().await.map_err(|error| refused(&error))?;
    if !is_compatible(&version) {
        return Err(AgentError::Missing(format!(
            "OpenCode {version} at {} is not compatible: 1.18.33 or a later 1.18 is needed. Update it with \
             `npm install -g opencode-ai@{PINNED_VERSION}`, or unset ORCHESTRATOR_OPENCODE_BIN to let the orchestrator install its own",
            shared.config.binary.display()
        )));
    }

    let (inputs_to, mut inputs) = mpsc::channel(INPUTS);
    tokio::spawn(sse::read(api.clone(), deadlines.silence, inputs_to));
    let connected = async {
        while let Some(input) = inputs.recv().await {
            if matches!(input, Input::Connected) {
                return true;
            }
        }
        false
    };
    match timeout_at(until, connected).await {
        Ok(true) => Ok((api, inputs)),
        _ => Err(AgentError::Boot(
            "OpenCode's event stream did not open in time".to_owned(),
        )),
    }
}

/// The address out of `opencode server listening on http://127.0.0.1:<port>`.
async fn listening(
    lines: Option<mpsc::Receiver<Line>>,
    until: Instant,
) -> Result<String, AgentError> {
    let Some(mut lines) = lines else {
        return Err(AgentError::Boot(
            "OpenCode's output cannot be read".to_owned(),
        ));
    };
    let found = async {
        while let Some(line) = lines.recv().await {
            if let Some(found) = address_in(&line.text) {
                return Some(found);
            }
        }
        // The output ended: wait for the exit that goes with it.
        std::future::pending().await
    };
    match timeout_at(until, found).await {
        Ok(Some(Ok(url))) => Ok(url),
        Ok(Some(Err(rest))) => Err(AgentError::Boot(format!(
            "OpenCode says that it listens, but not where: `{rest}`"
        ))),
        Ok(None) | Err(_) => Err(AgentError::Boot(
            "OpenCode did not say in time that it listens".to_owned(),
        )),
    }
}

/// `None` for any other line; `Err` for one that says so without a usable address.
fn address_in(line: &str) -> Option<Result<String, String>> {
    let (_, rest) = line.split_once("listening on ")?;
    let rest = rest.trim();
    let port = rest
        .strip_prefix("http://127.0.0.1:")
        .and_then(|port| port.trim_end_matches('/').parse::<u16>().ok());
    Some(match port {
        Some(port) if port > 0 => Ok(format!("http://127.0.0.1:{port}")),
        _ => Err(rest.chars().take(200).collect()),
    })
}

/// Until `/config` is good. A refused connection right after the listening line is tried again, an answer is believed.
async fn answering(api: &Api, until: Instant) -> Result<(), AgentError> {
    loop {
        let error = match timeout_at(until, api.config()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(AgentError::Boot(
                    "OpenCode listens, but does not answer".to_owned(),
                ));
            }
        };
        if !matches!(error, ApiError::Transport(_)) || Instant::now() >= until {
            return Err(refused(&error));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refused(error: &ApiError) -> AgentError {
    match error {
        ApiError::Refused { name, message, .. } if name.starts_with("Config") => {
            AgentError::Misconfigured(format!(
                "OpenCode's configuration is broken: {message}. Correct it (`opencode debug config` shows it) and send the message again"
            ))
        }
        other => AgentError::Boot(other.to_string()),
    }
}

/// The error of a failed start with what the child said, if that can help.
fn with_last_words(error: AgentError, record: &ExitRecord, secrets: &[String]) -> AgentError {
    let AgentError::Boot(message) = error else {
        return error;
    };
    let ending = match (record.code, record.signal) {
        (Some(code), _) if message.contains("ended before") => format!(" (exit code {code})"),
        (_, Some(signal)) if message.contains("ended before") => format!(" (signal {signal})"),
        _ => String::new(),
    };
    let shown = before_echo(&record.last_lines);
    let lines = &shown[shown.len().saturating_sub(SHOWN_LINES)..];
    let words: Vec<String> = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| environment::redacted(line, secrets))
        .collect();
    if words.is_empty() {
        return AgentError::Boot(format!("{message}{ending}"));
    }
    AgentError::Boot(format!(
        "{message}{ending}; its last lines:\n{}",
        words.join("\n")
    ))
}

/// Without the configuration that OpenCode prints after a mistake in it: keys may stand there.
fn before_echo(lines: &[String]) -> &[String] {
    let echo = lines.iter().position(|line| line.contains("JSONC Input"));
    &lines[..echo.unwrap_or(lines.len())]
}

fn exit_report(record: ExitRecord, secrets: &[String]) -> ExitReport {
    ExitReport {
        code: record.code,
        signal: record.signal,
        last_lines: before_echo(&record.last_lines)
            .iter()
            .map(|line| environment::redacted(line, secrets))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_on_loopback_with_a_port_counts() {
        assert_eq!(
            address_in("opencode server listening on http://127.0.0.1:43211"),
            Some(Ok("http://127.0.0.1:43211".to_owned()))
        );
        assert_eq!(
            address_in("Warning: OPENCODE_SERVER_PASSWORD is not set"),
            None
        );
        for garbage in [
            "http://0.0.0.0:80",
            "http://127.0.0.1:",
            "http://127.0.0.1:99999",
            "a socket",
        ] {
            assert!(
                address_in(&format!("listening on {garbage}"))
                    .unwrap()
                    .is_err(),
                "{garbage}"
            );
        }
    }
}
