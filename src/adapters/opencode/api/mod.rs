//! OpenCode's HTTP API, as much of it as we call (V1). Every call has a time limit, none goes through a proxy, and no
//! answer that could hold a provider's key (`/config`) is kept or shown. Here is the client and what is asked of the server
//! as a whole; `conversation` has the calls about one conversation, `answer` reads what comes back.

mod answer;
mod conversation;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orchestrator_actors::domain::ids::ConversationId;
use orchestrator_actors::ports::agent::Reply;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::answer::ApiError;
use self::answer::{json_of, ok, transport};
use super::choices::{Choices, ListedAgent};
use super::models::Providers;
use super::wire::Request;

/// For calls that read or change something small.
pub const SHORT: Duration = Duration::from_secs(5);

/// For reading a conversation, and for whatever may be the first to ask a fresh OpenCode about its directory: that loads it,
/// which is a second of a processor, and on a machine that compiles something many times that. To give it up and
/// start another one would only add to the load; one that hangs is found out by its health.
const LONG: Duration = Duration::from_secs(20);

/// Generations of sub-agents that are looked through.
const DEEPEST: usize = 8;

/// A client of one OpenCode server, for one directory.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    base: Arc<str>,
    directory: Arc<str>,
    password: Arc<SecretString>,
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

    /// Loads what the first prompt would have to wait for; gives what there is to choose from.
    pub async fn prewarm(&self) -> Option<Choices> {
        let agents = self.get::<Vec<ListedAgent>>("/agent", &[], LONG);
        let (providers, agents) = tokio::join!(self.providers(), agents);
        // It only saves time: whatever is wrong shows when it is needed.
        Some(Choices::of(providers.ok()?, agents.ok()?))
    }

    /// The pending permission requests and questions.
    pub async fn requests(&self) -> Result<Vec<Request>, ApiError> {
        let mut requests: Vec<Request> = self.get("/permission", &[], SHORT).await?;
        requests.extend(self.get::<Vec<Request>>("/question", &[], SHORT).await?);
        Ok(requests)
    }

    /// Of these sessions those that descend from the conversation, sub-agents of sub-agents, too.
    pub async fn within(
        &self,
        conversation: &ConversationId,
        sessions: &BTreeSet<&str>,
    ) -> Vec<String> {
        #[derive(Deserialize)]
        struct Session {
            #[serde(rename = "parentID")]
            parent: Option<String>,
        }
        let mut found = Vec::new();
        for start in sessions {
            let mut at = (*start).to_owned();
            for _ in 0..DEEPEST {
                let path = format!("/session/{}", segment(&at));
                let Ok(Session {
                    parent: Some(parent),
                }) = self.get(&path, &[], SHORT).await
                else {
                    break;
                };
                if parent == conversation.as_str() {
                    found.push((*start).to_owned());
                    break;
                }
                at = parent;
            }
        }
        found
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

#[cfg(test)]
mod tests {
    use orchestrator_actors::domain::ids::ConversationId;

    use super::*;

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
