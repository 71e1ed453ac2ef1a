//! Identity on a socket: who the queries see, what a bad token does, and a token that ends while the socket is open.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Owner, World, deployment};

#[tokio::test]
async fn queries_see_the_caller_and_run_again_when_it_changes() {
    let owner = Owner::new();
    let provider = owner.provider.clone();
    let deployment = deployment(&World::default(), |config| config.identity = vec![provider]).await;
    let mut client = Client::connect(&deployment.url()).await;
    client.subscribe(0, "who:am", json!({})).await;
    assert_eq!(client.value().await, Value::Null);
    client.authenticate(Some(&owner.token("ann", 60))).await;
    assert_eq!(client.value().await, "https://orchestrator.local|ann");
    client.authenticate(Some(&owner.token("ann", 90))).await;
    let refreshed = client.transition().await;
    assert_eq!(
        refreshed["modifications"],
        json!([]),
        "a refresh is confirmed and changes nothing"
    );
    assert_eq!(refreshed["endVersion"]["identity"], 2);
    client.authenticate(None).await;
    assert_eq!(client.value().await, Value::Null);
    deployment.stop().await;
}

#[tokio::test]
async fn a_bad_token_is_an_auth_error_and_closes() {
    let owner = Owner::new();
    let provider = owner.provider.clone();
    let deployment = deployment(&World::default(), |config| config.identity = vec![provider]).await;
    for token in [
        owner.token("ann", -300),
        Owner::new().token("ann", 60),
        "rubbish".to_owned(),
    ] {
        let mut client = Client::connect(&deployment.url()).await;
        client.authenticate(Some(&token)).await;
        let (messages, code, reason) = client.closed().await;
        let error = messages.last().unwrap();
        assert_eq!(error["type"], "AuthError");
        assert_eq!(
            (&error["baseVersion"], &error["authUpdateAttempted"]),
            (&json!(0), &json!(true))
        );
        assert_eq!(code, 1008);
        assert!(!reason.contains(&token), "the token itself is not repeated");
    }
    let mut client = Client::connect(&deployment.url()).await;
    client
        .send(
            json!({"type": "Authenticate", "baseVersion": 0, "tokenType": "Admin", "value": "key"}),
        )
        .await;
    assert!(client.closed().await.2.contains("admin keys"));
    deployment.stop().await;
}

#[tokio::test]
async fn an_identity_ends_with_its_token() {
    let owner = Owner::new();
    let provider = owner.provider.clone();
    let deployment = deployment(&World::default(), |config| {
        config.identity = vec![provider];
        config.tuning.websocket_ping = Duration::from_millis(20);
    })
    .await;
    let mut client = Client::connect(&deployment.url()).await;
    client.subscribe(0, "who:am", json!({})).await;
    client.transition().await;
    // 60 s of leeway are granted: this one has about a second left
    client.authenticate(Some(&owner.token("ann", -58))).await;
    assert_eq!(client.value().await, "https://orchestrator.local|ann");
    let (messages, code, _) = client.closed().await;
    let error = messages.last().unwrap();
    assert_eq!(
        (&error["type"], &error["authUpdateAttempted"]),
        (&json!("AuthError"), &json!(false))
    );
    assert_eq!(code, 1008);
    deployment.stop().await;
}
