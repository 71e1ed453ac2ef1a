//! What OpenCode answers: JSON within a bound, an error with its name and text, or nothing at all.

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

/// The most bytes of an answer. The longest is a page of messages with their tools' output.
const MOST_OF_AN_ANSWER: usize = 64 * 1024 * 1024;
const MOST_OF_AN_ERROR: usize = 64 * 1024;

#[derive(Debug, Error)]
pub enum ApiError {
    /// OpenCode answered with an error.
    #[error("OpenCode answered {status}: {message}")]
    Refused {
        status: u16,
        name: String,
        message: String,
        /// The file it is about, with a mistake in a configuration.
        path: Option<String>,
    },
    /// No answer.
    #[error("OpenCode did not answer: {0}")]
    Transport(String),
    /// Something answered, but not OpenCode.
    #[error("the answer is not OpenCode's: {0}")]
    Garbage(String),
    /// More than we read; so many bytes are the bound.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

impl ApiError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

pub(super) fn transport(error: reqwest::Error) -> ApiError {
    // The URL is dropped: it says nothing that the text around it does not.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    ApiError::Transport(text)
}

pub(super) async fn json_of<T: DeserializeOwned>(response: Response) -> Result<T, ApiError> {
    let body = body_of(response, MOST_OF_AN_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|error| ApiError::Garbage(error.to_string()))
}

/// The body, unless it is longer than anything that OpenCode has to say.
async fn body_of(mut response: Response, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(transport)? {
        if body.len() + piece.len() > most {
            return Err(ApiError::TooLong(most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

pub(super) async fn ok(response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(ApiError::Refused {
            status: 401,
            name: String::new(),
            message: "wrong password: another server has this port".to_owned(),
            path: None,
        });
    }
    let body = body_of(response, MOST_OF_AN_ERROR)
        .await
        .unwrap_or_default();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = value["name"].as_str().unwrap_or_default().to_owned();
    let message = value["data"]["message"].as_str().map_or_else(
        || {
            if name.is_empty() {
                "no reason given".to_owned()
            } else {
                name.clone()
            }
        },
        str::to_owned,
    );
    Err(ApiError::Refused {
        status: status.as_u16(),
        name,
        message: explained(message.chars().take(2000).collect()),
        path: value["data"]["path"].as_str().map(str::to_owned),
    })
}

/// What its database says of a disk that takes nothing names neither the disk nor what to do.
fn explained(message: String) -> String {
    const DISK: &[&str] = &[
        "Failed to execute statement",
        "disk is full",
        "disk I/O error",
        "ENOSPC",
    ];
    if DISK.iter().any(|said| message.contains(said)) {
        format!("{message} (OpenCode cannot write its database: is the disk full, or a quota?)")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_failed_on_a_full_disk_names_the_disk() {
        let told = explained("Failed to execute statement".to_owned());
        assert!(told.contains("is the disk full"), "{told}");
        assert_eq!(
            explained("Session not found".to_owned()),
            "Session not found"
        );
    }
}
