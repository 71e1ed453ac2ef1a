//! Our own client: `OwnerClient` for those with an identity, and for others the connection that it and the supervisor's
//! link stand on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orchestrator::adapters::convex::connection::{Answer, Connection, Watching};
use orchestrator::adapters::convex::owner::AuthFailure;
use orchestrator::adapters::convex::{ClientError, OwnerAuth, OwnerClient, Settings};
use orchestrator_actors::ports::link::CallError;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Target;
use super::steps::{Client, Connect, Updates};
use crate::expectation::{Outcome, Seen};

const CALL_LIMIT: Duration = Duration::from_secs(30);

pub struct Own<'a>(pub &'a Target);

struct Token(String);

impl OwnerAuth for Token {
    fn jwt(&self) -> Result<SecretString, AuthFailure> {
        Ok(self.0.clone().into())
    }
}

#[async_trait]
impl Connect for Own<'_> {
    async fn connect(&self, identity: &str) -> Box<dyn Client> {
        let url = &self.0.url;
        if let Some(token) = self.0.tokens.get(identity) {
            let auth = Arc::new(Token(token.clone()));
            let client = OwnerClient::connect(url, auth, CALL_LIMIT).await;
            return Box::new(Owner(client.expect("a connection")));
        }
        let connection = Connection::new(url, Settings::suited_to(url), None);
        let driven = Arc::clone(&connection);
        let drive = tokio::spawn(async move {
            driven.drive().await;
        });
        Box::new(Nobody {
            connection,
            _drive: AbortOnDropHandle::new(drive),
        })
    }
}

struct Owner(OwnerClient);

#[async_trait]
impl Client for Owner {
    async fn call(&mut self, kind: &str, function: &str, args: Value) -> Outcome {
        let answer = match kind {
            "query" => self.0.query(function, args).await,
            _ => self.0.mutation(function, args).await,
        };
        owner_saw(answer)
    }

    async fn subscribe(&mut self, function: &str, args: Value) -> Box<dyn Updates> {
        Box::new(OwnerUpdates(self.0.subscribe(function, args)))
    }
}

struct OwnerUpdates(mpsc::Receiver<Result<Value, ClientError>>);

#[async_trait]
impl Updates for OwnerUpdates {
    async fn next(&mut self) -> Outcome {
        match self.0.recv().await {
            Some(answer) => owner_saw(answer),
            None => Seen::Failed("the subscription ended".to_owned()).into(),
        }
    }
}

fn owner_saw(answer: Result<Value, ClientError>) -> Outcome {
    let seen = match answer {
        Ok(value) => Seen::Value(value),
        Err(ClientError::Unauthorized { message }) => refused("unauthorized", &message),
        Err(ClientError::Refused { code, message }) => refused(&code, &message),
        Err(ClientError::Server(text)) => Seen::Failed(text),
        Err(error @ ClientError::Unreachable { .. }) => Seen::Failed(error.to_string()),
    };
    seen.into()
}

struct Nobody {
    connection: Arc<Connection>,
    _drive: AbortOnDropHandle<()>,
}

#[async_trait]
impl Client for Nobody {
    async fn call(&mut self, kind: &str, function: &str, args: Value) -> Outcome {
        let answer = match kind {
            "query" => match self.connection.watch(function, args) {
                Ok(mut watching) => watching.next().await,
                Err(error) => Some(Err(error)),
            },
            _ => match self.connection.call(function, args) {
                Ok(receiver) => receiver.await.ok(),
                Err(error) => Some(Err(error)),
            },
        };
        nobody_saw(answer)
    }

    async fn subscribe(&mut self, function: &str, args: Value) -> Box<dyn Updates> {
        let watching = self.connection.watch(function, args);
        Box::new(NobodyUpdates(watching.expect("a subscription")))
    }
}

struct NobodyUpdates(Watching);

#[async_trait]
impl Updates for NobodyUpdates {
    async fn next(&mut self) -> Outcome {
        nobody_saw(self.0.next().await)
    }
}

fn nobody_saw(answer: Option<Answer>) -> Outcome {
    let seen = match answer {
        Some(Ok(value)) => Seen::Value(value),
        Some(Err(CallError::Refused { code, message })) => refused(&code, &message),
        Some(Err(CallError::Server(text))) => Seen::Failed(text),
        Some(Err(CallError::Closed)) | None => Seen::Failed("the connection was closed".to_owned()),
    };
    seen.into()
}

fn refused(code: &str, message: &str) -> Seen {
    Seen::Refused(json!({ "code": code, "message": message }))
}
