//! OpenCode's HTTP API, as much of it as we call (V1). Every call has a time limit, none goes through a proxy, and no
//! answer that could hold a provider's key (`/config`) is kept or shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::{ConversationId, ModelId, SessionId};
use orchestrator_actors::ports::agent::Reply;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::ids::PromptIds;
use super::models::Providers;
use super::wire::{Request, Status, Stored};

/// For calls that read or change something small.
pub const SHORT: Duration = Duration::from_secs(5);

/// For reading a conversation, and for whatever may be the first to ask a fresh OpenCode about its directory: that loads it,
/// which is a second of a processor, and on a machine that compiles something many times that. To give it up and
/// start another one would only add to the load; one that hangs is found out by its health.
const LONG: Duration = Duration::from_secs(20);

/// Under this name a session's metadata carries our session's id.
const SESSION_KEY: &str = "orchestratorSession";

/// How many messages are read at once, newest first, until the turn is covered.
const MESSAGES_A_PAGE: usize = 60;

/// The most bytes of an answer. The longest is a page of messages with their tools' output.
const MOST_OF_AN_ANSWER: usize = 64 * 1024 * 1024;
const MOST_OF_AN_ERROR: usize = 64 * 1024;

/// The most pages read of one turn: a step has one message, so this is a turn of twelve thousand steps.
const PAGES: usize = 200;

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
}

impl ApiError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A client of one OpenCode server, for one directory.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: Arc<str>,
    directory: Arc<str>,
    password: Arc<SecretString>,
}

#[derive(Debug, Deserialize)]
pub struct Session {
    pub id: String,
    #[serde(default)]
    pub directory: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    time: super::wire::Times,
}

impl Api {
    pub fn new(base: &str, directory: &str, password: SecretString) -> Result<Self, ApiError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ApiError::Transport(error.to_string()))?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').into(),
            directory: directory.into(),
            password: Arc::new(password),
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .query(&[("directory", &*self.directory)])
            .basic_auth("opencode", Some(self.password.expose_secret()))
    }

    pub fn address(&self) -> &str {
        &self.base
    }

    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// The models there are. The answer holds keys, too: what is read of it does not.
    pub async fn providers(&self) -> Result<Providers, ApiError> {
        self.get("/config/providers", &[], LONG).await
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Whether the directory is still there. A process keeps a directory that was deleted under it.
    pub async fn directory_exists(&self) -> bool {
        tokio::fs::metadata(&*self.directory)
            .await
            .is_ok_and(|found| found.is_dir())
    }

    /// Whether this is our directory.
    pub fn serves(&self, directory: &str) -> bool {
        *self.directory == *directory
    }

    /// The event stream. Only its headers have a time limit.
    pub async fn events(&self) -> Result<Response, ApiError> {
        let request = self
            .request(Method::GET, "/event")
            .header("accept", "text/event-stream");
        let response = tokio::time::timeout(SHORT, request.send())
            .await
            .map_err(|_| ApiError::Transport("no event stream in time".to_owned()))?
            .map_err(transport)?;
        ok(response).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        within: Duration,
    ) -> Result<T, ApiError> {
        let response = self
            .request(Method::GET, path)
            .query(query)
            .timeout(within)
            .send()
            .await
            .map_err(transport)?;
        json_of(ok(response).await?).await
    }

    async fn post(&self, path: &str, body: &Value, within: Duration) -> Result<Response, ApiError> {
        let response = self
            .request(Method::POST, path)
            .json(body)
            .timeout(within)
            .send()
            .await
            .map_err(transport)?;
        ok(response).await
    }

    /// Whether the configuration can be used. The body may hold keys and is dropped.
    pub async fn config(&self) -> Result<(), ApiError> {
        let config: Value = self.get("/config", &[], LONG).await?;
        if config.is_object() {
            Ok(())
        } else {
            Err(ApiError::Garbage("no configuration".to_owned()))
        }
    }

    pub async fn version(&self) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Health {
            version: String,
        }
        Ok(self
            .get::<Health>("/global/health", &[], LONG)
            .await?
            .version)
    }

    /// Whether it answers at all.
    pub async fn health(&self, within: Duration) -> Result<(), ApiError> {
        let health = self.get::<serde::de::IgnoredAny>("/global/health", &[], within);
        health.await.map(drop)
    }

    /// Loads what the first prompt would have to wait for.
    pub async fn prewarm(&self) {
        let providers = self.get::<serde::de::IgnoredAny>("/config/providers", &[], LONG);
        let agents = self.get::<serde::de::IgnoredAny>("/agent", &[], LONG);
        // It only saves time: whatever is wrong shows when it is needed.
        let _ = tokio::join!(providers, agents);
    }

    /// The first call to a child that goes on with a conversation: OpenCode sets the directory up before it answers, and a
    /// busy machine takes its time for that. Giving up would start another child and make it busier.
    pub async fn session(&self, id: &ConversationId) -> Result<Session, ApiError> {
        self.get(&format!("/session/{}", segment(id.as_str())), &[], LONG)
            .await
    }

    /// The directory's session that carries our session's id: the oldest, should there be several.
    pub async fn find_session(&self, ours: &SessionId) -> Result<Option<ConversationId>, ApiError> {
        let mut limit = 256;
        loop {
            // The plain list stops at 100 and has no cursor; the limit has to be said, and raised until it is not met.
            let sessions: Vec<Session> = self
                .get("/session", &[("limit", &limit.to_string())], LONG)
                .await?;
            let mut found: Vec<&Session> = sessions
                .iter()
                .filter(|session| session.metadata[SESSION_KEY] == ours.as_str())
                .collect();
            found.sort_by(|a, b| {
                a.time
                    .created
                    .total_cmp(&b.time.created)
                    .then_with(|| a.id.cmp(&b.id))
            });
            if sessions.len() < limit || limit > 1_000_000 {
                return Ok(found
                    .first()
                    .map(|session| ConversationId::new(session.id.clone())));
            }
            limit *= 16;
        }
    }

    pub async fn create_session(
        &self,
        ours: &SessionId,
        title: &str,
    ) -> Result<ConversationId, ApiError> {
        // Without a title OpenCode asks the model for one.
        let title = if title.trim().is_empty() {
            "chat"
        } else {
            title
        };
        let body = json!({"title": title, "metadata": {SESSION_KEY: ours.as_str()}});
        let session: Session = json_of(self.post("/session", &body, LONG).await?).await?;
        Ok(ConversationId::new(session.id))
    }

    pub async fn rename(&self, id: &ConversationId, title: &str) -> Result<(), ApiError> {
        let request = self
            .request(Method::PATCH, &format!("/session/{}", segment(id.as_str())))
            .json(&json!({"title": title}))
            .timeout(SHORT);
        ok(request.send().await.map_err(transport)?).await.map(drop)
    }

    /// Whether the user's message is stored.
    pub async fn has_message(
        &self,
        conversation: &ConversationId,
        message: &str,
        within: Duration,
    ) -> Result<bool, ApiError> {
        let path = format!(
            "/session/{}/message/{}",
            segment(conversation.as_str()),
            segment(message)
        );
        match self.get::<serde::de::IgnoredAny>(&path, &[], within).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The messages from `from` (a user's message) to the newest, oldest first; empty when it is not stored.
    pub async fn messages_from(
        &self,
        conversation: &ConversationId,
        from: &str,
    ) -> Result<Vec<Stored>, ApiError> {
        // Among the first calls to a child, as the one for the conversation itself.
        if !self.has_message(conversation, from, LONG).await? {
            return Ok(Vec::new());
        }
        let path = format!("/session/{}/message", segment(conversation.as_str()));
        let limit = MESSAGES_A_PAGE.to_string();
        let mut messages: Vec<Stored> = Vec::new();
        let mut before: Option<String> = None;
        for _ in 0..PAGES {
            let mut request = self
                .request(Method::GET, &path)
                .query(&[("limit", &limit)])
                .timeout(LONG);
            if let Some(before) = &before {
                request = request.query(&[("before", before)]);
            }
            let response = ok(request.send().await.map_err(transport)?).await?;
            before = response
                .headers()
                .get("x-next-cursor")
                .and_then(|cursor| cursor.to_str().ok())
                .map(str::to_owned);
            let mut page: Vec<Stored> = json_of(response).await?;
            page.append(&mut messages);
            messages = page;
            if let Some(at) = messages.iter().position(|message| message.info.id == from) {
                return Ok(messages.split_off(at));
            }
            if before.is_none() {
                break;
            }
        }
        Err(ApiError::Garbage(format!(
            "the message {from} is stored but not listed"
        )))
    }

    pub async fn prompt(
        &self,
        conversation: &ConversationId,
        ids: &PromptIds,
        content: &str,
        model: Option<&ModelId>,
        agent: Option<&str>,
    ) -> Result<(), ApiError> {
        let mut body = json!({
            "messageID": ids.message,
            "parts": [{"id": ids.part, "type": "text", "text": content}],
        });
        // The model's part may contain slashes: only the first one separates.
        if let Some((provider, model)) = model.and_then(|model| model.as_str().split_once('/')) {
            body["model"] = json!({"providerID": provider, "modelID": model});
        }
        if let Some(agent) = agent {
            body["agent"] = json!(agent);
        }
        let path = format!("/session/{}/prompt_async", segment(conversation.as_str()));
        self.post(&path, &body, SHORT).await.map(drop)
    }

    pub async fn abort(&self, conversation: &ConversationId) -> Result<(), ApiError> {
        let path = format!("/session/{}/abort", segment(conversation.as_str()));
        self.post(&path, &json!({}), SHORT).await.map(drop)
    }

    /// Whether OpenCode works in this conversation.
    pub async fn is_busy(&self, conversation: &ConversationId) -> Result<bool, ApiError> {
        let all: HashMap<String, Status> = self.get("/session/status", &[], SHORT).await?;
        Ok(all
            .get(conversation.as_str())
            .is_some_and(|status| status.kind != "idle"))
    }

    /// The pending permission requests and questions.
    pub async fn requests(&self) -> Result<Vec<Request>, ApiError> {
        let mut requests: Vec<Request> = self.get("/permission", &[], SHORT).await?;
        requests.extend(self.get::<Vec<Request>>("/question", &[], SHORT).await?);
        Ok(requests)
    }

    /// A rejected permission with a message is read by the model, which goes on; without one OpenCode ends the turn, and it
    /// does so for every question that is rejected.
    pub async fn reply(&self, request: &str, reply: &Reply) -> Result<(), ApiError> {
        let id = segment(request);
        let is_question = request.starts_with("que");
        let (path, body) = match reply {
            Reply::Answers(answers) if is_question => {
                (format!("/question/{id}/reply"), json!({"answers": answers}))
            }
            Reply::Reject { .. } if is_question => (format!("/question/{id}/reject"), json!({})),
            Reply::Reject { message } => {
                let mut body = json!({"reply": "reject"});
                if let Some(message) = message {
                    body["message"] = json!(message);
                }
                (format!("/permission/{id}/reply"), body)
            }
            Reply::Once | Reply::Always if !is_question => {
                let word = if *reply == Reply::Once {
                    "once"
                } else {
                    "always"
                };
                (format!("/permission/{id}/reply"), json!({"reply": word}))
            }
            _ => {
                return Err(ApiError::Garbage(
                    "the answer is not one to this request".to_owned(),
                ));
            }
        };
        self.post(&path, &body, SHORT).await.map(drop)
    }

    /// Ends all turns and their tools, and stores how far they came.
    pub async fn dispose(&self, within: Duration) -> Result<(), ApiError> {
        self.post("/global/dispose", &json!({}), within)
            .await
            .map(drop)
    }
}

/// Ids come from outside: one with a slash must not change which path is called.
fn segment(text: &str) -> String {
    use std::fmt::Write;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut path, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                path.push(char::from(byte));
            } else {
                let _ = write!(path, "%{byte:02X}");
            }
            path
        })
}

fn transport(error: reqwest::Error) -> ApiError {
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

async fn json_of<T: DeserializeOwned>(response: Response) -> Result<T, ApiError> {
    let body = body_of(response, MOST_OF_AN_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|error| ApiError::Garbage(error.to_string()))
}

/// The body, unless it is longer than anything that OpenCode has to say.
async fn body_of(mut response: Response, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(transport)? {
        if body.len() + piece.len() > most {
            return Err(ApiError::Garbage(format!("it is longer than {most} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

async fn ok(response: Response) -> Result<Response, ApiError> {
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

    #[test]
    fn an_id_cannot_leave_its_place_in_a_path() {
        assert_eq!(segment("ses_1a"), "ses_1a");
        assert_eq!(segment("../x?y"), "%2E%2E%2Fx%3Fy");
    }

    /// Answers one request with an empty object, after so long.
    async fn slow_server(after: Duration) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            tokio::time::sleep(after).await;
            let body = r#"{"id":"ses_1"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
            let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.read(&mut [0; 1]).await;
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_directory_that_loads_slowly_is_waited_for() {
        let url = slow_server(SHORT + Duration::from_millis(500)).await;
        let api = Api::new(&url, "/w", SecretString::from("p".to_owned())).unwrap();
        let session = api.session(&ConversationId::new("ses_1")).await;
        assert_eq!(session.unwrap().id, "ses_1");
    }
}
