//! From a started process to an OpenCode that answers: the "listening" line, a configuration that is really good, a
//! compatible version, an open event stream. Listening alone proves nothing: OpenCode listens with a broken configuration,
//! too, and answers every call with the error.

use std::path::Path;
use std::time::Duration;

use orchestrator_actors::ports::agent::AgentError;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::api::{Api, ApiError};
use super::health::Pulse;
use super::sse::{self, Input};
use super::{PINNED_VERSION, Shared, is_compatible, misconfigured};
use crate::adapters::process::{Line, Ward};

/// Parsed events that wait for the pump.
const INPUTS: usize = 1024;

/// An OpenCode that answers.
pub struct Ready {
    pub api: Api,
    pub inputs: mpsc::Receiver<Input>,
    pub pulse: Pulse,
}

pub async fn get_ready(
    shared: &Shared,
    ward: &Ward,
    lines: Option<mpsc::Receiver<Line>>,
    directory: &Path,
    password: String,
    started: Instant,
) -> Result<Ready, AgentError> {
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
    let pulse = Pulse::new();
    let reading = sse::read(api.clone(), deadlines.silence, pulse.clone(), inputs_to);
    tokio::spawn(reading);
    let connected = async {
        while let Some(input) = inputs.recv().await {
            if matches!(input, Input::Connected) {
                return true;
            }
        }
        false
    };
    match timeout_at(until, connected).await {
        Ok(true) => Ok(Ready { api, inputs, pulse }),
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
    match misconfigured::in_answer(error) {
        Some(advice) => AgentError::Misconfigured(advice),
        None => AgentError::Boot(error.to_string()),
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
