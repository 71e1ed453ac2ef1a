//! Credentials: a worker's `machine_<id>:worker_<id>:secret_<secret>`, which serves one directory, and a machine's
//! `machine_<id>:secret_<secret>`, which enrols. Secrets never leave these types except on the wire to the
//! deployment; `Debug` and `Display` show their first characters only.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::ids::{MachineId, WorkerId};

/// What a malformed token is answered with, everywhere.
pub const TOKEN_FORMAT_HELP: &str =
    "Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret>";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{TOKEN_FORMAT_HELP}")]
pub struct BadToken;

/// A well-formed worker token. Invalid ones cannot exist.
#[derive(Clone)]
pub struct WorkerToken {
    machine: MachineId,
    worker: WorkerId,
    secret: SecretString,
}

impl WorkerToken {
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.split(':');
        let machine = part(parts.next(), "machine_")?;
        let worker = part(parts.next(), "worker_")?;
        let secret = part(parts.next(), "secret_")?;
        if parts.next().is_some() {
            return Err(BadToken);
        }
        Ok(Self {
            machine: MachineId::new(machine),
            worker: WorkerId::new(worker),
            secret: SecretString::from(secret.to_owned()),
        })
    }

    pub fn machine(&self) -> &MachineId {
        &self.machine
    }

    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// The whole token in clear, for the deployment alone.
    pub fn expose(&self) -> String {
        format!(
            "machine_{}:worker_{}:secret_{}",
            self.machine,
            self.worker,
            self.secret.expose_secret()
        )
    }
}

/// A well-formed machine token: it serves nothing itself; the deployment gives a machine's workers and their tokens
/// for it. Invalid ones cannot exist.
#[derive(Clone)]
pub struct MachineToken {
    machine: MachineId,
    secret: SecretString,
}

impl MachineToken {
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let (machine, secret) = text.split_once(':').ok_or(BadToken)?;
        Ok(Self {
            machine: MachineId::new(part(Some(machine), "machine_")?),
            secret: SecretString::from(part(Some(secret), "secret_")?.to_owned()),
        })
    }

    pub fn machine(&self) -> &MachineId {
        &self.machine
    }

    /// The whole token in clear, for the deployment alone.
    pub fn expose(&self) -> String {
        format!(
            "machine_{}:secret_{}",
            self.machine,
            self.secret.expose_secret()
        )
    }
}

/// Either kind, as people paste them.
#[derive(Clone, Debug)]
pub enum Token {
    Worker(WorkerToken),
    Machine(MachineToken),
}

impl Token {
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        WorkerToken::parse(text)
            .map(Self::Worker)
            .or_else(|_| MachineToken::parse(text).map(Self::Machine))
    }
}

/// `text` with the secret of every token in it shortened, as [`WorkerToken`] shows itself.
pub fn without_secrets(text: &str) -> String {
    const START: &str = ":secret_";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, after) = rest.split_at(at + START.len());
        let end = after.find(|c| !is_of_a_part(c)).unwrap_or(after.len());
        shown.push_str(before);
        shown.push_str(&after[..end.min(4)]);
        shown.push('…');
        rest = &after[end..];
    }
    shown + rest
}

fn is_of_a_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn part<'a>(text: Option<&'a str>, prefix: &str) -> Result<&'a str, BadToken> {
    let id = text
        .and_then(|text| text.strip_prefix(prefix))
        .ok_or(BadToken)?;
    if id.is_empty() || !id.chars().all(is_of_a_part) {
        return Err(BadToken);
    }
    Ok(id)
}

fn beginning(secret: &SecretString) -> String {
    secret.expose_secret().chars().take(4).collect()
}

impl fmt::Display for MachineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = beginning(&self.secret);
        write!(f, "machine_{}:secret_{shown}…", self.machine)
    }
}

impl fmt::Debug for MachineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for WorkerToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for WorkerToken {}

impl fmt::Display for WorkerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = beginning(&self.secret);
        write!(
            f,
            "machine_{}:worker_{}:secret_{shown}…",
            self.machine, self.worker
        )
    }
}

impl fmt::Debug for WorkerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_sample_is_a_token() {
        let text = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";
        let token = WorkerToken::parse(text).unwrap();
        assert_eq!(token.machine().as_str(), "abc123");
        assert_eq!(token.worker().as_str(), "xyz789");
        assert_eq!(token.expose(), text);
        assert_eq!(
            format!("{token:?}"),
            "machine_abc123:worker_xyz789:secret_def4…"
        );
    }

    #[test]
    fn two_parts_are_a_machines_and_three_a_workers() {
        let Ok(Token::Machine(token)) = Token::parse("machine_abc123:secret_def456") else {
            panic!("a machine's token");
        };
        assert_eq!(token.machine().as_str(), "abc123");
        assert_eq!(token.expose(), "machine_abc123:secret_def456");
        assert_eq!(format!("{token:?}"), "machine_abc123:secret_def4…");
        let worker = Token::parse("machine_abc123:worker_x:secret_def456");
        assert!(matches!(worker, Ok(Token::Worker(_))));
        for text in [
            "",
            "machine_a",
            "machine_a:secret_",
            "secret_b:machine_a",
            "machine_a:secret_b:x",
        ] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_quotes_a_token_shows_its_beginning_only() {
        assert_eq!(
            without_secrets(r#"{"token":"machine_a:worker_b:secret_def456","x":1} m:secret_ä"#),
            r#"{"token":"machine_a:worker_b:secret_def4…","x":1} m:secret_…ä"#
        );
        assert_eq!(without_secrets("plain"), "plain");
    }

    #[test]
    fn anything_else_is_refused_with_the_format() {
        for text in [
            "",
            "machine_a:worker_b",
            "machine_:worker_b:secret_c",
            "worker_b:machine_a:secret_c",
            "machine_a:worker_b:secret_c:d",
            "machine_a:worker_b:secret_c d",
            "machine_a:worker_b:secret_",
        ] {
            assert_eq!(WorkerToken::parse(text).unwrap_err(), BadToken, "{text}");
        }
    }
}
