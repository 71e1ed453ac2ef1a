//! The command line's client: answers or a clear error, in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;

use super::super::owner::{AuthFailure, ClientError, OwnerAuth, OwnerClient};
use super::server::{Fault, Server};
use super::{DEADLINE, within};

/// A new token each time: `token0`, `token1`, …
#[derive(Default)]
struct Counting(AtomicU32);

impl OwnerAuth for Counting {
    fn jwt(&self) -> Result<SecretString, AuthFailure> {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(SecretString::from(format!("token{n}")))
    }
}

async fn connect(url: &str) -> Result<OwnerClient, ClientError> {
    OwnerClient::connect(url, Arc::new(Counting::default()), DEADLINE).await
}

#[tokio::test]
async fn an_owner_asks_writes_and_watches() {
    let server = Server::start().await;
    server.world().tokens = vec!["token0".into()];
    let client = connect(&server.url).await.unwrap();
    assert_eq!(client.query("test:counter", json!({})).await, Ok(json!(0)));
    let mut counter = client.subscribe("test:counter", json!({}));
    assert_eq!(
        within("the first", counter.recv()).await,
        Some(Ok(json!(0)))
    );
    assert_eq!(client.mutation("test:bump", json!({})).await, Ok(json!(1)));
    assert_eq!(within("the next", counter.recv()).await, Some(Ok(json!(1))));
    let refused = client.mutation("test:refuse", json!({})).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code, .. } if code == "queue_full"));
    let failed = client.query("test:nothing", json!({})).await.unwrap_err();
    assert!(matches!(failed, ClientError::Server(_)), "{failed}");
    assert_eq!(client.is_connected(), Ok(()));
}

#[tokio::test]
async fn a_token_that_is_refused_is_said_at_once() {
    let server = Server::start().await;
    let error = within("the refusal", connect(&server.url))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error}");
    assert_eq!(server.world().connects.len(), 1, "it was tried again");
}

#[tokio::test]
async fn an_expired_token_is_replaced_by_a_fresh_one() {
    let server = Server::with_faults(|nth| (nth == 1).then_some(Fault::Expired)).await;
    server.world().tokens = vec!["token0".into(), "token1".into()];
    let client = connect(&server.url).await.unwrap();
    assert_eq!(client.mutation("test:bump", json!({})).await, Ok(json!(1)));
    assert_eq!(server.world().connects.len(), 2);

    // And when the fresh one is refused, everybody who waits hears of it.
    server.script(|_| Some(Fault::Expired));
    let mut counter = client.subscribe("test:counter", json!({}));
    within("the first", counter.recv()).await.unwrap().unwrap();
    let error = within("the refusal", client.mutation("test:bump", json!({}))).await;
    assert!(
        matches!(error, Err(ClientError::Unauthorized { .. })),
        "{error:?}"
    );
    let last = within("the end", counter.recv()).await;
    assert!(
        matches!(last, Some(Err(ClientError::Unauthorized { .. }))),
        "{last:?}"
    );
    assert_eq!(within("nothing more", counter.recv()).await, None);
}

#[tokio::test]
async fn nobody_there_is_said_long_before_the_time_limit() {
    let mut server = Server::start().await;
    server.stop().await;
    let begun = Instant::now();
    let error = connect(&server.url).await.err().unwrap();
    assert!(begun.elapsed() < DEADLINE / 2);
    assert!(matches!(&error, ClientError::Unreachable { url, .. } if *url == server.url));
    let error = connect("not a url").await.err().unwrap();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_deployment_that_goes_away_costs_the_time_limit_only() {
    let server = Server::with_faults(|_| Some(Fault::Silence)).await;
    server.world().tokens = vec!["token0".into()];
    let auth = Arc::new(Counting::default());
    let short = Duration::from_millis(200);
    let client = OwnerClient::connect(&server.url, auth, short)
        .await
        .unwrap();
    let error = within("the limit", client.mutation("test:bump", json!({}))).await;
    assert!(
        matches!(error, Err(ClientError::Unreachable { .. })),
        "{error:?}"
    );
}
