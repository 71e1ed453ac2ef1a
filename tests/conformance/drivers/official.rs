//! The official Rust client, unchanged.

use std::collections::BTreeMap;

use async_trait::async_trait;
use convex::{ConvexClient, FunctionResult, QuerySubscription, Value as Convex};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::Target;
use super::steps::{Client, Connect, Updates};
use crate::expectation::{Outcome, Seen};

pub struct Official<'a>(pub &'a Target);

#[async_trait]
impl Connect for Official<'_> {
    async fn connect(&self, identity: &str) -> Box<dyn Client> {
        let mut client = ConvexClient::new(&self.0.url).await.expect("a client");
        if let Some(token) = self.0.tokens.get(identity) {
            client.set_auth(Some(token.clone())).await;
        }
        Box::new(OfficialClient(client))
    }
}

struct OfficialClient(ConvexClient);

#[async_trait]
impl Client for OfficialClient {
    async fn call(&mut self, kind: &str, function: &str, args: Value) -> Outcome {
        let args = arguments(args);
        let answer = match kind {
            "query" => self.0.query(function, args).await,
            _ => self.0.mutation(function, args).await,
        };
        answer.map_or_else(|error| Seen::Failed(error.to_string()).into(), seen)
    }

    async fn subscribe(&mut self, function: &str, args: Value) -> Box<dyn Updates> {
        let subscription = self.0.subscribe(function, arguments(args)).await;
        Box::new(Subscription(subscription.expect("a subscription")))
    }
}

struct Subscription(QuerySubscription);

#[async_trait]
impl Updates for Subscription {
    async fn next(&mut self) -> Outcome {
        match self.0.next().await {
            Some(result) => seen(result),
            None => Seen::Failed("the subscription ended".to_owned()).into(),
        }
    }
}

fn arguments(args: Value) -> BTreeMap<String, Convex> {
    match Convex::try_from(args) {
        Ok(Convex::Object(fields)) => fields,
        other => panic!("the arguments are not an object: {other:?}"),
    }
}

fn seen(result: FunctionResult) -> Outcome {
    let seen = match result {
        FunctionResult::Value(value) => Seen::Value(value.into()),
        FunctionResult::ErrorMessage(text) => Seen::Failed(text),
        FunctionResult::ConvexError(error) => Seen::Refused(error.data.into()),
    };
    seen.into()
}
