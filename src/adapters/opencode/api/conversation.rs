//! The calls about one conversation, which OpenCode calls a session: it is found or made, its messages are read, a prompt is
//! given to it or taken back.

use std::collections::HashMap;
use std::time::Duration;

use orchestrator_actors::domain::ids::{ConversationId, SessionId};
use orchestrator_actors::ports::agent::Prompt;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, json_of, ok, transport};
use super::{Api, LONG, SHORT, segment};
use crate::adapters::opencode::ids::PromptIds;
use crate::adapters::opencode::wire::{Status, Stored, Times};

/// Under this name a session's metadata carries our session's id.
const SESSION_KEY: &str = "orchestratorSession";

/// How many messages are read at once, newest first, until the turn is covered.
const MESSAGES_A_PAGE: usize = 60;

/// The most pages read of one turn: a step has one message, so this is a turn of twelve thousand steps.
const PAGES: usize = 200;

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
    time: Times,
}

impl Api {
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
        let mut limit = MESSAGES_A_PAGE;
        let mut messages: Vec<Stored> = Vec::new();
        let mut before: Option<String> = None;
        for _ in 0..PAGES {
            let mut request = self
                .request(Method::GET, &path)
                .query(&[("limit", &limit.to_string())])
                .timeout(LONG);
            if let Some(before) = &before {
                request = request.query(&[("before", before)]);
            }
            let response = ok(request.send().await.map_err(transport)?).await?;
            let next = response
                .headers()
                .get("x-next-cursor")
                .and_then(|cursor| cursor.to_str().ok())
                .map(str::to_owned);
            let mut page: Vec<Stored> = match json_of(response).await {
                Ok(page) => page,
                // Images that were sent along are in their messages: fewer of them fit.
                Err(ApiError::TooLong(_)) if limit > 1 => {
                    limit /= 4;
                    limit = limit.max(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            before = next;
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
        prompt: &Prompt,
        ids: &PromptIds,
        parts: Vec<Value>,
    ) -> Result<(), ApiError> {
        let Prompt {
            conversation,
            model,
            agent,
            attachments,
            ..
        } = prompt;
        let mut body = json!({"messageID": ids.message, "parts": parts});
        // The model's part may contain slashes: only the first one separates.
        if let Some((provider, model)) = model
            .as_ref()
            .and_then(|model| model.as_str().split_once('/'))
        {
            body["model"] = json!({"providerID": provider, "modelID": model});
        }
        if let Some(agent) = agent {
            body["agent"] = json!(agent);
        }
        let path = format!("/session/{}/prompt_async", segment(conversation.as_str()));
        let within = if attachments.is_empty() { SHORT } else { LONG };
        self.post(&path, &body, within).await.map(drop)
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
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::Router;
    use axum::extract::Query;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use secrecy::SecretString;

    use super::*;

    /// Messages that together are more than one answer may be.
    const ALL: usize = 5;
    const EACH: usize = 14 * 1024 * 1024;

    /// The newest `limit` messages before the cursor, oldest first, as OpenCode pages them.
    async fn page(Query(asked): Query<HashMap<String, String>>) -> (HeaderMap, String) {
        let limit: usize = asked["limit"].parse().unwrap();
        let end: usize = asked.get("before").map_or(ALL, |at| at.parse().unwrap());
        let begin = end.saturating_sub(limit);
        let mut headers = HeaderMap::new();
        if begin > 0 {
            headers.insert("x-next-cursor", begin.to_string().parse().unwrap());
        }
        let message = |at: usize| {
            let image = "A".repeat(EACH);
            format!(
                r#"{{"info":{{"id":"msg_{at}","role":"user"}},"parts":[{{"type":"file","url":"{image}"}}]}}"#
            )
        };
        let all: Vec<_> = (begin..end).map(message).collect();
        (headers, format!("[{}]", all.join(",")))
    }

    #[tokio::test]
    async fn a_conversation_full_of_images_is_read_in_smaller_pages() {
        let router = Router::new()
            .route("/session/ses_1/message/msg_0", get(async || "{}"))
            .route("/session/ses_1/message", get(page));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let password = SecretString::from("secret");
        let api = Api::new(&format!("http://{address}"), "/w", password).unwrap();
        let messages = api.messages_from(&"ses_1".into(), "msg_0").await.unwrap();
        let ids: Vec<_> = messages.iter().map(|message| &*message.info.id).collect();
        assert_eq!(ids, ["msg_0", "msg_1", "msg_2", "msg_3", "msg_4"]);
        server.abort();
    }
}
