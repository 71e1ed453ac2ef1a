//! Whoever does harm is told so; everybody else is served on, and nothing is lost. Everything here is at the limits that
//! a user's deployment has, over the real engine; a bystander with a subscription looks on.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use orchestrator_backend::Deployment;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, DEADLINE, real};

/// Watches a group, and writes into it to see that it is served.
struct Bystander {
    client: Client,
    seen: u32,
}

impl Bystander {
    async fn of(folder: &Path) -> (Deployment, Self) {
        let (deployment, _) = real(folder).await;
        let mut client = Client::connect(&deployment.url()).await;
        client
            .subscribe(0, "rows:count", json!({ "group": "bystander" }))
            .await;
        assert_eq!(client.value().await, 0.0);
        (deployment, Self { client, seen: 0 })
    }

    async fn is_served(&mut self) {
        let row = json!({ "group": "bystander", "seq": self.seen, "text": "x" });
        self.client.mutate(self.seen, "rows:put", row).await;
        let shown = f64::from(self.seen + 1);
        let (mut is_answered, mut is_shown) = (false, false);
        while !(is_answered && is_shown) {
            let message = self.client.receive().await;
            if message["type"] == "MutationResponse" {
                assert_eq!(message["success"], true, "{message}");
                is_answered = true;
            } else {
                is_shown |= message["modifications"][0]["value"] == shown;
            }
        }
        self.seen += 1;
    }
}

/// The error text of a query that fails.
async fn failure(client: &mut Client, id: u32, path: &str, args: Value) -> String {
    client.subscribe(id, path, args).await;
    let transition = client.transition().await;
    let failed = &transition["modifications"][0];
    assert_eq!(failed["type"], "QueryFailed", "{path}");
    failed["errorMessage"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn calls_that_cannot_be_are_errors_of_their_callers() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let mut client = Client::connect(&deployment.url()).await;
    for (id, (path, args, says)) in [
        ("nowhere:count", json!({}), "Could not find public function"),
        ("rows:put", json!({}), "defined as Mutation"),
        (
            "rows:count",
            json!({ "group": 7 }),
            "ArgumentValidationError",
        ),
        (
            "rows:count",
            json!({}),
            "missing the required field `group`",
        ),
        (
            "rows:count",
            json!({ "group": "a", "b": 1 }),
            "extra field `b`",
        ),
        (
            "rows:count",
            json!({ "group": { "$integer": "x" } }),
            "ArgumentValidationError",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let error = failure(&mut client, id as u32, path, args.clone()).await;
        assert!(error.contains(says), "{path}: {error}");
        let path = if path == "rows:put" {
            "rows:count"
        } else {
            path
        };
        client.mutate(id as u32, path, args).await;
        let answer = client.response(id as u32).await;
        assert_eq!(answer["success"], false, "{answer}");
        client.transition().await;
        bystander.is_served().await;
    }
    deployment.stop().await;
}

#[tokio::test]
async fn an_endless_loop_or_too_much_memory_ends_its_own_call() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let mut client = Client::connect(&deployment.url()).await;
    for (id, (path, says)) in [
        ("rows:spin", "timed out (maximum duration: 1s)"),
        ("rows:hoard", ""),
        ("rows:hoardText", "memory"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = failure(&mut client, id as u32, path, json!({})).await;
        assert!(error.contains(says), "{path}: {error}");
        bystander.is_served().await;
    }
    for (request, path, args, says) in [
        (
            0,
            "rows:spinAndWrite",
            json!({ "group": "bystander" }),
            "timed out",
        ),
        (1, "rows:hoardSlowly", json!({}), "ran out of memory"),
    ] {
        client.mutate(request, path, args).await;
        let answer = client.response(request).await;
        let error = answer["result"].as_str().unwrap();
        assert!(
            answer["success"] == false && error.contains(says),
            "{error}"
        );
        client.transition().await;
        // Also: what it wrote is not there.
        bystander.is_served().await;
    }
    assert_eq!(deployment.engine_restarts(), 0);
    deployment.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_large_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let mut client = Client::connect(&deployment.url()).await;
    let error = failure(&mut client, 0, "rows:large", json!({ "megabytes": 18 })).await;
    assert!(error.contains("Return value is too large"), "{error}");
    bystander.is_served().await;
    client
        .subscribe(1, "rows:large", json!({ "megabytes": 15 }))
        .await;
    assert_eq!(client.value().await.as_array().unwrap().len(), 15);

    let text = |megabytes: usize| json!({ "text": "x".repeat(megabytes << 20) });
    client.mutate(0, "rows:size", text(15)).await;
    assert_eq!(client.response(0).await["result"], f64::from(15 << 20));
    client.transition().await;
    client.mutate(1, "rows:size", text(19)).await;
    let answer = client.response(1).await;
    let error = answer["result"].as_str().unwrap();
    assert!(error.contains("Arguments are too large"), "{error}");
    client.transition().await;
    bystander.is_served().await;
    // It may hang up while this is still being written.
    let message =
        json!({ "type": "Mutation", "requestId": 2, "udfPath": "rows:size", "args": [text(21)] });
    let _ = client.socket.send(Message::text(message.to_string())).await;
    let (_, code, reason) = client.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1009, "message too large: the limit is 20 MiB")
    );
    bystander.is_served().await;
    deployment.stop().await;
}

/// All that it sends, as fast as it can; what was answered before the close is there, and no more than was sent.
#[tokio::test]
async fn a_hundred_thousand_mutations_at_once_close_the_socket_and_lose_nothing() {
    const SENT: u32 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let client = Client::connect(&deployment.url()).await;
    let (mut sink, mut stream) = client.socket.split();
    let sending = tokio::spawn(async move {
        for request in 0..SENT {
            let row = json!({ "group": "flood", "seq": request, "text": "x" });
            let message = json!({ "type": "Mutation", "requestId": request, "udfPath": "rows:put", "args": [row] });
            if sink.feed(Message::text(message.to_string())).await.is_err() {
                break;
            }
        }
        // Closed meanwhile: that is the point.
        let _ = sink.flush().await;
    });
    let mut acknowledged = 0;
    let reason = loop {
        let frame = tokio::time::timeout(DEADLINE, stream.next()).await;
        match frame.expect("an answer or a close").expect("a close frame") {
            Ok(Message::Text(text)) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "MutationResponse" {
                    assert_eq!(message["requestId"], acknowledged);
                    acknowledged += 1;
                }
            }
            Ok(Message::Close(Some(frame))) => break frame.reason.to_string(),
            Ok(_) => {}
            Err(error) => panic!("cut off without a word: {error}"),
        }
    };
    assert!(
        reason.contains("more than 1000 mutations are waiting"),
        "{reason}"
    );
    drop(stream);
    sending.await.unwrap();
    bystander.is_served().await;
    let mut reader = Client::connect(&deployment.url()).await;
    reader
        .subscribe(0, "rows:count", json!({ "group": "flood" }))
        .await;
    let there = reader.value().await.as_f64().unwrap();
    // One may have been running.
    assert!(
        (f64::from(acknowledged)..=f64::from(acknowledged + 1)).contains(&there),
        "{there} of {acknowledged}"
    );
    deployment.stop().await;
}

/// Bytes that are no WebSocket frames of a client, after a good upgrade.
#[tokio::test]
async fn malformed_frames_end_their_own_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let long_ping = [[0x89, 0xfe, 0, 126].as_slice(), &[0; 130]].concat();
    let frames: [(&str, &[u8]); 8] = [
        ("not masked", &[0x81, 0x02, b'{', b'}']),
        ("a reserved opcode", &[0x83, 0x80, 1, 2, 3, 4]),
        ("a reserved bit", &[0xf1, 0x80, 1, 2, 3, 4]),
        (
            "text that is no UTF-8",
            &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe],
        ),
        ("a continuation of nothing", &[0x80, 0x80, 1, 2, 3, 4]),
        (
            "a length of 2^63",
            &[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        ),
        (
            "a length beyond any limit",
            &[0x81, 0xff, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        ),
        ("a ping of 126 bytes", &long_ping),
    ];
    for (what, bytes) in frames {
        let mut socket = TcpStream::connect(deployment.address()).await.unwrap();
        let upgrade = format!(
            "GET /api/sync HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            deployment.address()
        );
        socket.write_all(upgrade.as_bytes()).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut heard = Vec::new();
        // A reset is an end, too.
        let ended =
            tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "{what}: the socket stays open");
        assert!(heard.starts_with(b"HTTP/1.1 101"), "{what}");
        bystander.is_served().await;
    }
    deployment.stop().await;
}
