//! The HTTP API without any client around it: it shows the lines of the log, too.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Target;
use super::steps::{Client, Connect, Updates};
use crate::expectation::{Outcome, Seen};

/// Between two questions of what stands for a subscription.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Http<'a>(pub &'a Target);

#[async_trait]
impl Connect for Http<'_> {
    async fn connect(&self, identity: &str) -> Box<dyn Client> {
        Box::new(HttpClient {
            url: self.0.url.clone(),
            token: self.0.tokens.get(identity).cloned(),
            client: reqwest::Client::new(),
        })
    }
}

#[derive(Clone)]
struct HttpClient {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl HttpClient {
    async fn ask(&self, kind: &str, function: &str, args: &Value) -> Outcome {
        let body = json!({ "path": function, "args": [args], "format": "convex_encoded_json" });
        let mut request = self
            .client
            .post(format!("{}/api/{kind}", self.url))
            .json(&body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let reply = match request.send().await {
            Ok(reply) => reply.text().await.unwrap_or_default(),
            Err(error) => return Seen::Failed(error.to_string()).into(),
        };
        let Ok(reply) = serde_json::from_str::<Value>(&reply) else {
            return Seen::Failed(reply).into();
        };
        let result = if reply["status"] == "success" {
            Seen::Value(reply["value"].clone())
        } else if let Some(data) = reply.get("errorData") {
            Seen::Refused(data.clone())
        } else {
            Seen::Failed(
                reply["errorMessage"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            )
        };
        let lines = reply["logLines"].as_array().into_iter().flatten();
        let logs = lines
            .filter_map(|line| line.as_str().map(str::to_owned))
            .collect();
        Outcome {
            result,
            logs: Some(logs),
        }
    }
}

#[async_trait]
impl Client for HttpClient {
    async fn call(&mut self, kind: &str, function: &str, args: Value) -> Outcome {
        self.ask(kind, function, &args).await
    }

    async fn subscribe(&mut self, function: &str, args: Value) -> Box<dyn Updates> {
        Box::new(Polled {
            client: self.clone(),
            function: function.to_owned(),
            args,
        })
    }
}

/// Asks again and again.
struct Polled {
    client: HttpClient,
    function: String,
    args: Value,
}

#[async_trait]
impl Updates for Polled {
    async fn next(&mut self) -> Outcome {
        tokio::time::sleep(PAUSE).await;
        self.client.ask("query", &self.function, &self.args).await
    }
}
