//! Sends a message. The id is made here, so that a repeated call is the same message.

use serde_json::json;

use super::attach::{File, upload};
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::resolve::Target;
use crate::cli::rows::{Sent, read};

/// The deployment's own limit, checked here first so that nobody waits for an upload that is refused.
pub const MAX_MESSAGE_BYTES: usize = 900_000;

/// A message that the deployment has accepted, and the turn that will answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub session: String,
    pub turn: String,
    pub seq: u64,
}

/// How a message is to be answered, where it is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    pub model: Option<&'a str>,
    pub agent: Option<&'a str>,
}

pub async fn submit(
    connection: &Connection,
    target: &Target,
    content: &str,
    files: &[File],
    how: How<'_>,
) -> Result<Submitted, Failure> {
    check(content)?;
    let attachments = upload(connection, files).await?;
    let mut args = json!({"id": new_id(), "content": content});
    match target {
        Target::Worker { id, .. } => args["workerId"] = json!(id),
        Target::Session { id, .. } => args["sessionId"] = json!(id),
    }
    if !attachments.is_empty() {
        args["attachments"] = json!(attachments);
    }
    if let Some(agent) = how.agent {
        args["agent"] = json!(agent);
    }
    if let Some(model) = how.model {
        args["model"] = json!(model);
    }
    let value = connection.client.mutation("messages:send", args).await?;
    let sent: Sent = read("messages:send", value)?;
    Ok(Submitted {
        session: sent.session_id,
        turn: sent.turn_id,
        seq: sent.seq as u64,
    })
}

/// Checked here, because the assistant would only say so after it has been started for it.
pub fn model_name(text: &str) -> Result<String, String> {
    let has_both = text
        .split_once('/')
        .is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty());
    if has_both {
        Ok(text.to_owned())
    } else {
        Err("a model is named provider/model, such as anthropic/claude-sonnet-4-5".to_owned())
    }
}

/// 64 random bits: short enough to be typed, too many to be met twice.
pub(super) fn new_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    id[..8].to_owned() + &id[24..]
}

/// Without its size: of stdin no more is read than shows that it is too much.
fn too_large() -> Failure {
    Failure::usage("the message is too large: more than 900,000 bytes")
}

/// Whether a message can be sent at all.
pub fn check(content: &str) -> Result<(), Failure> {
    if content.trim().is_empty() {
        return Err(Failure::usage("the message is empty"));
    }
    if content.len() > MAX_MESSAGE_BYTES {
        return Err(
            too_large().hint("put it into a file in the worker's directory and ask about the file")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_provider() {
        assert!(model_name("openrouter/anthropic/x").is_ok());
        for text in ["sonnet", "/x", "x/", ""] {
            assert!(model_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_and_huge_messages_are_refused_before_they_travel() {
        assert!(check("hello").is_ok());
        assert!(check(" \n").is_err());
        assert!(check(&"x".repeat(MAX_MESSAGE_BYTES)).is_ok());
        assert_eq!(MAX_MESSAGE_BYTES, 900_000);
        let failure = check(&"x".repeat(MAX_MESSAGE_BYTES + 1)).unwrap_err();
        assert_eq!(
            failure.message,
            "the message is too large: more than 900,000 bytes"
        );
    }
}
