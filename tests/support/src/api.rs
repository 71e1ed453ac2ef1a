//! A deployment as its owner sees it, over the HTTP API.

use serde_json::{Value, json};

use crate::http::{request, try_request};
use crate::wait::until;

pub struct Api {
    url: String,
    token: String,
}

impl Api {
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    #[track_caller]
    pub fn query(&self, function: &str, args: &Value) -> Value {
        self.call("query", function, args)
            .unwrap_or_else(|error| panic!("{function}: {error}"))
    }

    #[track_caller]
    pub fn mutation(&self, function: &str, args: &Value) -> Value {
        self.call("mutation", function, args)
            .unwrap_or_else(|error| panic!("{function}: {error}"))
    }

    /// The value, or the whole error reply.
    pub fn call(&self, kind: &str, function: &str, args: &Value) -> Result<Value, Value> {
        let body = body_of(function, args);
        let bearer = format!("Bearer {}", self.token);
        let headers = headers(&bearer);
        let (_, body) = request("POST", &format!("{}/api/{kind}", self.url), &headers, &body);
        let reply: Value =
            serde_json::from_str(&body).map_err(|error| json!(format!("{error}: {body}")))?;
        if reply["status"] == "success" {
            Ok(reply["value"].clone())
        } else {
            Err(reply)
        }
    }

    /// The value or the whole refusal; `None` when the deployment is away or failed by itself: nobody knows then whether
    /// it ran, and an idempotent call is made again.
    pub fn attempt(
        &self,
        kind: &str,
        function: &str,
        args: &Value,
    ) -> Option<Result<Value, Value>> {
        let body = body_of(function, args);
        let bearer = format!("Bearer {}", self.token);
        let headers = headers(&bearer);
        let url = format!("{}/api/{kind}", self.url);
        let (status, body) = try_request("POST", &url, &headers, &body).ok()?;
        let reply: Value = serde_json::from_str(&body).ok()?;
        if reply["status"] == "success" {
            return Some(Ok(reply["value"].clone()));
        }
        let refused = !reply["errorData"].is_null() || (400..500).contains(&status);
        refused.then_some(Err(reply))
    }

    /// Sends a message; gives the session and the turn.
    pub fn send(&self, id: &str, to: &Value, content: &str) -> (String, String) {
        let mut args = json!({ "id": id, "content": content });
        for (key, value) in to.as_object().into_iter().flatten() {
            args[key] = value.clone();
        }
        let sent = self.mutation("messages:send", &args);
        let text = |key: &str| sent[key].as_str().expect("an id").to_owned();
        (text("sessionId"), text("turnId"))
    }

    /// The turn's row of `messages:list`.
    pub fn turn(&self, session: &str, turn: &str) -> Value {
        let list = self.query("messages:list", &json!({ "sessionId": session }));
        let messages = list["messages"].as_array().cloned().unwrap_or_default();
        messages
            .into_iter()
            .find(|message| message["id"] == turn)
            .unwrap_or(Value::Null)
    }

    /// Waits until the turn is closed, and a complete one folded: a long answer is folded by a function of its own, and its
    /// row has no parts before that.
    pub fn closed(&self, session: &str, turn: &str) -> Value {
        until(&format!("{turn} is closed"), || {
            let row = self.turn(session, turn);
            let has_ended = match row["state"].as_str().unwrap_or_default() {
                "queued" | "claimed" | "" => false,
                "complete" => row["folded"] == true,
                _ => true,
            };
            has_ended.then_some(row)
        })
    }

    /// What has streamed so far: the text items of the stored chunks, folded.
    pub fn streamed(&self, turn: &str) -> String {
        let mut text = String::new();
        for from in (0..).step_by(32) {
            let page = self.query(
                "chunks:page",
                &json!({ "turnId": turn, "from": f64::from(from) }),
            );
            let items = page["items"].as_array().cloned().unwrap_or_default();
            for item in &items {
                match item["kind"].as_str() {
                    Some("text") => text.push_str(item["content"].as_str().unwrap_or_default()),
                    Some("reset") => text.clear(),
                    _ => {}
                }
            }
            if items.len() < 32 {
                break;
            }
        }
        text
    }
}

fn body_of(function: &str, args: &Value) -> String {
    json!({ "path": function, "args": args, "format": "convex_encoded_json" }).to_string()
}

fn headers(bearer: &str) -> [(&str, &str); 2] {
    [
        ("Content-Type", "application/json"),
        ("Authorization", bearer),
    ]
}

/// The text parts of a closed, folded turn.
pub fn text_of(row: &Value) -> String {
    let parts = row["parts"].as_array().cloned().unwrap_or_default();
    parts
        .iter()
        .filter(|part| part["kind"] == "text")
        .filter_map(|part| part["text"].as_str())
        .collect()
}
