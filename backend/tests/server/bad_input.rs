//! Whoever does harm is told so; everybody else is served on, and nothing is lost. Everything here is at the limits that
//! a user's deployment has, over the real engine; a bystander with a subscription looks on.

use std::path::Path;
use std::time::Duration;

use futures_util::SinkExt as _;
use orchestrator_backend::Deployment;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, real};

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

/// It was answered with `FatalError`, which ends npm's client and with it all that it waits for.
#[tokio::test]
async fn arguments_nested_too_deeply_fail_their_own_call() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, mut bystander) = Bystander::of(folder.path()).await;
    let mut client = Client::connect(&deployment.url()).await;
    for (id, levels) in [(0, 70), (1, 130), (2, 100_000)] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let call =
            |rest: &str| format!(r#"{rest}"udfPath":"rows:size","args":[{{"text":{deep}}}]}}"#);
        let mutation = call(&format!(r#"{{"type":"Mutation","requestId":{id},"#));
        client.send_text(mutation).await;
        let answer = client.response(id).await;
        let error = answer["result"].as_str().unwrap();
        assert!(error.contains("nested too deeply"), "{levels}: {error}");
        client.transition().await;
        let add = call(&format!(r#"{{"type":"Add","queryId":{id},"#));
        client
            .send_text(format!(
                r#"{{"type":"ModifyQuerySet","baseVersion":{id},"newVersion":{},"modifications":[{add}]}}"#,
                id + 1
            ))
            .await;
        let failed = client.transition().await;
        assert_eq!(
            failed["modifications"][0]["type"], "QueryFailed",
            "{failed}"
        );
    }
    bystander.is_served().await;
    deployment.stop().await;
}

/// Fifteen megabytes of it came back in the error.
#[tokio::test]
async fn a_large_wrong_argument_is_not_echoed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, _) = Bystander::of(folder.path()).await;
    let mut client = Client::connect(&deployment.url()).await;
    let large = "é".repeat(5 << 20);
    for (request, args) in [
        (0, json!({ "text": "x", "more": large })),
        (1, json!({ "text": [large] })),
    ] {
        client.mutate(request, "rows:size", args).await;
        let answer = client.response(request).await;
        let error = answer["result"].as_str().unwrap();
        assert!(error.contains("ArgumentValidationError"), "{}", error.len());
        assert!(
            error.contains("bytes)") && error.len() < 2000,
            "{}",
            error.len()
        );
        client.transition().await;
    }
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
