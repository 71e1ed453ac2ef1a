//! Start, stop, and the engine's death: the port stays, the sockets close, the clients come back by themselves.

use std::net::SocketAddr;
use std::time::Duration;

use orchestrator_backend::Phase;
use orchestrator_backend::server::{Deployment, StartError};
use serde_json::{Value, json};

use crate::support::{Client, Owner, World, any_port, deployment, eventually, real};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let world = World::default();
    let first = deployment(&world, |_| {}).await;
    let mut config = any_port();
    config.bind = first.address();
    let error = Deployment::start_with(config, world.factory())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
    assert!(
        error.to_string().contains(&first.address().to_string()),
        "{error}"
    );
    first.stop().await;
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_at_the_start() {
    let world = World::default();
    let mut config = any_port();
    config.bind = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Deployment::start_with(config, world.factory())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StartError::NotLoopback { .. }));
    let mut config = any_port();
    config.allowed_origins = vec!["chat.example".to_owned()];
    let error = Deployment::start_with(config, world.factory())
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("`chat.example` is not an origin"),
        "{error}"
    );
    let mut config = any_port();
    let mut provider = Owner::new().provider;
    provider.jwks = json!({"keys": []});
    config.identity = vec![provider];
    assert!(matches!(
        Deployment::start_with(config, world.factory()).await,
        Err(StartError::Provider(_))
    ));
    world.set_broken(true);
    let error = Deployment::start_with(any_port(), world.factory())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("the file is damaged"), "{error}");
}

#[tokio::test]
async fn a_stop_says_goodbye_and_frees_the_port() {
    let world = World::default();
    let first = deployment(&world, |_| {}).await;
    let address = first.address();
    let phase = first.watch_phase();
    assert_eq!(first.phase(), Phase::Ready);
    let mut client = Client::connect(&first.url()).await;
    client.modify(json!([])).await;
    client.transition().await;
    first.stop().await;
    let (_, code, reason) = client.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1001, "the deployment is stopping")
    );
    assert_eq!(*phase.borrow(), Phase::Stopped);
    let second = deployment(&world, |config| config.bind = address).await;
    second.stop().await;
}

#[tokio::test]
async fn a_dropped_deployment_stops_too() {
    let world = World::default();
    let dropped = deployment(&world, |_| {}).await;
    let mut phase = dropped.watch_phase();
    let mut client = Client::connect(&dropped.url()).await;
    client.modify(json!([])).await;
    client.transition().await;
    drop(dropped);
    assert_eq!(client.closed().await.1, 1001);
    let stopped = phase.wait_for(|phase| *phase == Phase::Stopped);
    tokio::time::timeout(Duration::from_secs(10), stopped)
        .await
        .unwrap()
        .unwrap();
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn an_engines_panic_closes_the_sockets_and_keeps_the_port() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let session = uuid::Uuid::new_v4().to_string();
    let mut client = Client::connect_as(&deployment.url(), &session, 0).await;
    client
        .mutate(0, "rows:put", json!({"key": "a", "text": "kept"}))
        .await;
    let committed = client.response(0).await;
    client.transition().await;
    deployment.inject_engine_panic();
    let (_, code, reason) = client.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1012, "the deployment is restarting")
    );
    eventually("the engine is back", || deployment.phase() == Phase::Ready).await;
    assert_eq!(deployment.engine_restarts(), 1);
    let mut client = Client::connect_as(&deployment.url(), &session, 1).await;
    client.subscribe(0, "rows:get", json!({"key": "a"})).await;
    client
        .mutate(0, "rows:put", json!({"key": "a", "text": "kept"}))
        .await;
    assert_eq!(client.response(0).await["ts"], committed["ts"]);
    assert_eq!(client.value().await, "kept");
    assert_eq!(world.executed(), 1);
    deployment.stop().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn a_query_that_failed_for_a_reason_of_ours_stayed_failed() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    world.set_troubled(true);
    let mut client = Client::connect(&deployment.url()).await;
    client.subscribe(0, "rows:get", json!({"key": "a"})).await;
    let (messages, code, reason) = client.closed().await;
    assert!(messages.is_empty(), "{messages:?}");
    assert_eq!(code, 1012);
    assert!(reason.contains("try again"), "{reason}");
    world.set_troubled(false);
    let mut client = Client::connect(&deployment.url()).await;
    client.subscribe(0, "rows:get", json!({"key": "a"})).await;
    assert_eq!(client.value().await, json!(null));
    deployment.stop().await;
}

#[tokio::test]
async fn a_scheduled_function_that_failed_was_in_nobodys_sight() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, _) = real(folder.path()).await;
    let failed = deployment.watch_failed_job();
    let mut client = Client::connect(&deployment.url()).await;
    client.mutate(0, "rows:failLater", json!({})).await;
    client.response(0).await;
    eventually("it is told", || failed.borrow().is_some()).await;
    let told = failed.borrow().clone().unwrap();
    assert!(told.contains("rows:fail failed"), "{told}");
    assert!(told.contains("no fold"), "{told}");
    deployment.stop().await;
    // What failed before the start is no news.
    let (deployment, _) = real(folder.path()).await;
    assert_eq!(*deployment.watch_failed_job().borrow(), None);
    deployment.stop().await;
}

#[tokio::test]
async fn while_there_is_no_engine_callers_are_told_to_try_again() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    world.set_broken(true);
    deployment.inject_engine_panic();
    eventually("the engine is down", || {
        matches!(deployment.phase(), Phase::Restarting { reason } if reason.contains("the file is damaged"))
    })
    .await;
    let answer = reqwest::Client::new()
        .post(format!("{}/api/query", deployment.url()))
        .json(&json!({"path": "rows:get", "args": {}}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "Unavailable");
    assert!(Client::try_open(&deployment.url(), &[]).await.is_err());
    world.set_broken(false);
    eventually("the engine is back", || deployment.phase() == Phase::Ready).await;
    let mut client = Client::connect(&deployment.url()).await;
    client.modify(json!([])).await;
    client.transition().await;
    deployment.stop().await;
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn a_deployment_without_an_engine_stops_at_once() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    world.set_broken(true);
    deployment.inject_engine_panic();
    eventually("the engine is down", || deployment.engine_restarts() > 1).await;
    tokio::time::timeout(Duration::from_secs(5), deployment.stop())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_is_seen_in_the_phase_until_it_works_again() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let mut client = Client::connect(&deployment.url()).await;
    for (request, trouble) in [(0, Some("the disk is full")), (1, None)] {
        world.set_trouble(trouble);
        client
            .mutate(request, "rows:add", json!({"key": "n"}))
            .await;
        client.response(request).await;
        client.transition().await;
        let phase = match trouble {
            Some(reason) => Phase::Troubled {
                reason: reason.to_owned(),
            },
            None => Phase::Ready,
        };
        eventually("the phase says it", || deployment.phase() == phase).await;
    }
    deployment.stop().await;
}
