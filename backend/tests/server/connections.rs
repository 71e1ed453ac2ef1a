//! Liveness and slowness: pings, silent clients, slow readers, queues that are full.

use std::time::Duration;

use orchestrator_backend::server::ServerConfig;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, DEADLINE, World, deployment, eventually};

#[tokio::test]
async fn a_quiet_server_pings_in_both_ways() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.websocket_ping = Duration::from_millis(20);
        config.tuning.message_ping = Duration::from_millis(50);
    })
    .await;
    let mut client = Client::connect(&deployment.url()).await;
    let (mut pings, mut messages) = (0, 0);
    while pings < 3 || messages < 2 {
        match client.frame().await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            Some(Ok(Message::Text(text))) => {
                assert_eq!(text.as_str(), r#"{"type":"Ping"}"#);
                messages += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    deployment.stop().await;
}

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_dropped() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.websocket_ping = Duration::from_millis(20);
        config.tuning.client_silence = Duration::from_millis(100);
        config.tuning.goodbye = Duration::from_millis(50);
    })
    .await;
    // not read, so that no pong is sent
    let client = Client::connect(&deployment.url()).await;
    eventually("the socket is open", || deployment.sockets() == 1).await;
    eventually("the socket is dropped", || deployment.sockets() == 0).await;
    drop(client);
    deployment.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.websocket_ping = Duration::from_millis(20);
        config.tuning.client_silence = Duration::from_millis(100);
    })
    .await;
    let mut client = Client::connect(&deployment.url()).await;
    for _ in 0..10 {
        assert!(matches!(client.frame().await, Some(Ok(Message::Ping(_)))));
    }
    client.modify(json!([])).await;
    client.transition().await;
    deployment.stop().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped_at_the_bound() {
    let world = World::default();
    let deployment = deployment(&world, |config| config.tuning.unsent_bytes = 8 << 20).await;
    let mut slow = Client::connect(&deployment.url()).await;
    slow.subscribe(0, "make:text", json!({"bytes": 1 << 20}))
        .await;
    slow.transition().await;
    let mut writer = Client::connect(&deployment.url()).await;
    for request in 0..40 {
        writer
            .mutate(request, "rows:add", json!({"key": "make"}))
            .await;
        writer.response(request).await;
        writer.transition().await;
    }
    assert!(
        world.queried() < 30,
        "transitions are held back: {}",
        world.queried()
    );
    eventually("both are connected", || deployment.sockets() == 2).await;
    // its own answers are not held back: those fill the bound
    for request in 0..30 {
        slow.mutate(request, "make:text", json!({"bytes": 1 << 20}))
            .await;
    }
    eventually("the slow reader is dropped", || deployment.sockets() == 1).await;
    writer.mutate(99, "rows:add", json!({"key": "n"})).await;
    writer.response(99).await;
    deployment.stop().await;
}

#[tokio::test]
async fn a_slow_reader_gets_the_latest_value_not_every_one() {
    let world = World::default();
    let deployment = deployment(&world, |_| {}).await;
    let mut slow = Client::connect(&deployment.url()).await;
    slow.subscribe(0, "make:text", json!({"bytes": 4 << 20}))
        .await;
    slow.transition().await;
    let mut writer = Client::connect(&deployment.url()).await;
    for request in 0..30 {
        writer
            .mutate(request, "rows:add", json!({"key": "make"}))
            .await;
        writer.response(request).await;
        writer.transition().await;
    }
    let mut seen = 0;
    loop {
        seen += 1;
        if slow.value().await[1] == 30.0 {
            break;
        }
    }
    assert!(seen < 30, "{seen}");
    deployment.stop().await;
}

#[tokio::test]
async fn mutations_beyond_the_number_wait_in_the_network_and_are_not_lost() {
    beyond_a_bound(|config| config.tuning.queued_mutations = 10).await;
}

#[tokio::test]
async fn mutations_beyond_the_byte_bound_wait_in_the_network_and_are_not_lost() {
    beyond_a_bound(|config| config.tuning.queued_mutation_bytes = 1000).await;
}

async fn beyond_a_bound(bound: impl FnOnce(&mut ServerConfig)) {
    let world = World::default();
    let deployment = deployment(&world, |config| {
        bound(config);
        // longer than any client is silent while it is not read
        config.tuning.client_silence = Duration::from_millis(50);
        config.tuning.websocket_ping = Duration::from_millis(10);
    })
    .await;
    world.hold(true);
    let mut client = Client::connect(&deployment.url()).await;
    let text = "x".repeat(600);
    for request in 0..50 {
        client
            .mutate(request, "rows:put", json!({"key": "n", "text": text}))
            .await;
    }
    world.hold(false);
    let mut next = 0;
    while next < 50 {
        let message = client.receive().await;
        if message["type"] == "MutationResponse" {
            assert_eq!(message["requestId"], next);
            next += 1;
        }
    }
    assert_eq!(world.executed(), 50);
    deployment.stop().await;
}

/// It sends and sends and reads nothing; what it is told when it looks at last.
#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_closed_and_told_why() {
    let world = World::default();
    let deployment = deployment(&world, |config| {
        config.tuning.unsent_bytes = 8 << 20;
        config.tuning.slow_reader = Duration::from_millis(1);
        config.tuning.goodbye = DEADLINE;
    })
    .await;
    let mut deaf = Client::connect(&deployment.url()).await;
    for request in 0..100 {
        deaf.mutate(request, "make:text", json!({"bytes": 1 << 20}))
            .await;
    }
    // the engine takes turns: when these are through, so is all that it will ever run of the deaf one's
    let mut other = Client::connect(&deployment.url()).await;
    for request in 0..200 {
        other.mutate(request, "rows:add", json!({"key": "n"})).await;
        other.response(request).await;
        other.transition().await;
    }
    let (messages, code, reason) = deaf.closed().await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("reads too slowly"), "{reason}");
    assert!(messages.len() < 100, "{}", messages.len());
    deployment.stop().await;
}

#[tokio::test]
async fn an_engine_that_does_not_answer_closes_the_socket() {
    let world = World::default();
    let deployment = deployment(&world, |config| {
        config.tuning.websocket_ping = Duration::from_millis(20);
        config.tuning.call_timeout = Duration::from_millis(60);
    })
    .await;
    world.hold(true);
    let mut client = Client::connect(&deployment.url()).await;
    client.mutate(0, "rows:add", json!({"key": "n"})).await;
    let (messages, code, reason) = client.closed().await;
    assert!(messages.iter().all(|message| message["type"] == "Ping"));
    assert_eq!(
        (code, reason.as_str()),
        (1011, "the deployment takes too long")
    );
    world.hold(false);
    deployment.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_until_one_is_closed() {
    let deployment = deployment(&World::default(), |config| config.tuning.connections = 2).await;
    let first = Client::connect(&deployment.url()).await;
    let _second = Client::connect(&deployment.url()).await;
    let mut third = tokio::net::TcpStream::connect(deployment.address())
        .await
        .unwrap();
    let request = format!(
        "GET /version HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        deployment.address()
    );
    tokio::io::AsyncWriteExt::write_all(&mut third, request.as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    let early = tokio::time::timeout(
        Duration::from_millis(100),
        third.read_to_string(&mut answer),
    );
    assert!(early.await.is_err(), "served beyond the bound");
    drop(first);
    third.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    deployment.stop().await;
}
