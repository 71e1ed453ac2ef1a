//! Processes of this machine that open something and then do nothing with it: everybody else is served all the same.

use std::time::{Duration, Instant};

use orchestrator_backend::Deployment;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, DEADLINE, Owner, World, deployment, eventually};

/// A call whose body is announced, begun and never ended.
async fn begun(deployment: &Deployment, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(deployment.address()).await.unwrap();
    let head = format!(
        "POST /api/query HTTP/1.1\r\nhost: {}\r\ncontent-length: {bytes}\r\n\r\n{{",
        deployment.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn put(deployment: &Deployment, bytes: usize, token: Option<&str>) -> u16 {
    let text = "x".repeat(bytes);
    let mut request = reqwest::Client::new()
        .post(format!("{}/api/mutation", deployment.url()))
        .json(&json!({ "path": "rows:put", "args": { "key": "a", "text": text } }));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = tokio::time::timeout(DEADLINE, request.send()).await;
    response.expect("no answer").unwrap().status().as_u16()
}

#[tokio::test]
async fn bodies_that_never_end_keep_nobody_else_waiting() {
    let owner = Owner::new();
    let deployment = deployment(&World::default(), |config| {
        config.identity = vec![owner.provider.clone()];
        // nothing in here ends because a time is over
        config.tuning.body_timeout = Duration::from_mins(10);
    })
    .await;
    let mut stalled = Vec::new();
    for bytes in [20 << 20, 1000] {
        for _ in 0..64 {
            stalled.push(begun(&deployment, bytes).await);
        }
    }
    assert_eq!(put(&deployment, 1000, None).await, 200);
    let token = owner.token("owner", 60);
    assert_eq!(put(&deployment, 1000, Some(&token)).await, 200);
    assert_eq!(put(&deployment, 4 << 20, Some(&token)).await, 200);
    drop(stalled);
    deployment.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_in_time() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.body_timeout = Duration::from_millis(50);
    })
    .await;
    let mut stream = begun(&deployment, 1000).await;
    let mut answer = [0; 12];
    let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await;
    read.expect("no answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    deployment.stop().await;
}

#[tokio::test]
async fn a_token_that_is_wrong_is_refused_before_its_body() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.body_timeout = Duration::from_mins(10);
    })
    .await;
    let mut stream = TcpStream::connect(deployment.address()).await.unwrap();
    let head = format!(
        "POST /api/query HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer x\r\ncontent-length: 1000\r\n\r\n",
        deployment.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await;
    read.expect("no answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    deployment.stop().await;
}

#[tokio::test]
async fn idle_connections_give_their_places_back() {
    const PLACES: usize = 64;
    let deployment = deployment(&World::default(), |config| {
        config.tuning.connections = PLACES;
        config.tuning.header_timeout = Duration::from_millis(200);
        config.tuning.connect_timeout = Duration::from_millis(200);
        config.tuning.websocket_ping = Duration::from_millis(50);
    })
    .await;
    // a third says nothing, a third begins a header, a third has a WebSocket and never says `Connect`
    let mut idle = Vec::new();
    let mut sockets = Vec::new();
    for number in 0..PLACES {
        if number % 3 == 0 {
            sockets.push(Client::open(&deployment.url()).await);
            continue;
        }
        let mut stream = TcpStream::connect(deployment.address()).await.unwrap();
        if number % 3 == 1 {
            stream
                .write_all(b"GET /version HTTP/1.1\r\nhost:")
                .await
                .unwrap();
        }
        idle.push(stream);
    }
    let start = Instant::now();
    let mut supervisor = Client::connect(&deployment.url()).await;
    supervisor.mutate(0, "rows:add", json!({"key": "n"})).await;
    supervisor.response(0).await;
    assert!(start.elapsed() < DEADLINE);
    let answering = tokio::spawn(async move {
        for socket in &mut sockets {
            let (_, code, reason) = socket.closed().await;
            assert_eq!(
                (code, reason.as_str()),
                (1008, "no Connect from the client")
            );
        }
    });
    tokio::time::timeout(DEADLINE, answering)
        .await
        .unwrap()
        .unwrap();
    eventually("only the supervisor is left", || deployment.sockets() == 1).await;
    drop(idle);
    deployment.stop().await;
}

#[tokio::test]
async fn a_kept_alive_connection_between_two_requests_does_not_live_for_ever() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.header_timeout = Duration::from_millis(100);
    })
    .await;
    let mut stream = TcpStream::connect(deployment.address()).await.unwrap();
    let request = format!(
        "GET /version HTTP/1.1\r\nhost: {}\r\n\r\n",
        deployment.address()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let end = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    end.expect("still open").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    deployment.stop().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_its_answer_is_cut_off() {
    let deployment = deployment(&World::default(), |config| {
        config.tuning.connections = 1;
        config.tuning.write_timeout = Duration::from_millis(200);
    })
    .await;
    let body = r#"{"path":"make:text","args":{"bytes":15000000}}"#;
    let mut deaf = TcpStream::connect(deployment.address()).await.unwrap();
    let request = format!(
        "POST /api/query HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        deployment.address(),
        body.len()
    );
    deaf.write_all(request.as_bytes()).await.unwrap();
    // the only place is free again, although the peer is still there
    assert_eq!(put(&deployment, 10, None).await, 200);
    drop(deaf);
    deployment.stop().await;
}
