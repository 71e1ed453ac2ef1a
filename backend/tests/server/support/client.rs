//! A client that speaks the sync protocol by hand, so that a test can also speak it wrongly. It checks on the way what
//! must hold for every answer: transitions chain, and carry the clocks that npm's client wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::DEADLINE;

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: Value,
    query_set: u32,
    identity: u32,
}

/// The number behind a base64 timestamp.
pub fn field_ts(value: &Value) -> u64 {
    let bytes = STANDARD
        .decode(value.as_str().expect("a timestamp"))
        .unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}

impl Client {
    /// Only the WebSocket, nothing said yet.
    pub async fn open(url: &str) -> Self {
        Self::try_open(url, &[]).await.unwrap()
    }

    pub async fn try_open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let url = format!("{}/api/sync", url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Self {
            socket,
            version: json!({"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}),
            query_set: 0,
            identity: 0,
        })
    }

    pub async fn connect(url: &str) -> Self {
        let session = uuid::Uuid::new_v4().to_string();
        Self::connect_as(url, &session, 0).await
    }

    pub async fn connect_as(url: &str, session: &str, count: u32) -> Self {
        let mut client = Self::open(url).await;
        client
            .send(json!({
                "type": "Connect", "sessionId": session, "connectionCount": count,
                "lastCloseReason": null, "clientTs": 1_000,
            }))
            .await;
        client
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        let frame = Message::Text(Utf8Bytes::from(text));
        self.socket.send(frame).await.unwrap();
    }

    pub async fn modify(&mut self, modifications: Value) {
        let base = self.query_set;
        self.query_set += 1;
        self.send(json!({
            "type": "ModifyQuerySet", "baseVersion": base, "newVersion": self.query_set,
            "modifications": modifications,
        }))
        .await;
    }

    pub async fn subscribe(&mut self, id: u32, path: &str, args: Value) {
        self.modify(json!([{"type": "Add", "queryId": id, "udfPath": path, "args": [args]}]))
            .await;
    }

    pub async fn unsubscribe(&mut self, id: u32) {
        self.modify(json!([{"type": "Remove", "queryId": id}]))
            .await;
    }

    pub async fn mutate(&mut self, request: u32, path: &str, args: Value) {
        self.send(json!({
            "type": "Mutation", "requestId": request, "udfPath": path, "args": [args],
        }))
        .await;
    }

    pub async fn authenticate(&mut self, token: Option<&str>) {
        let base = self.identity;
        self.identity += 1;
        let mut message = json!({"type": "Authenticate", "baseVersion": base, "tokenType": "None"});
        if let Some(token) = token {
            message["tokenType"] = "User".into();
            message["value"] = token.into();
        }
        self.send(message).await;
    }

    /// The next frame of any kind.
    pub async fn frame(&mut self) -> Option<Result<Message, Error>> {
        let frame = tokio::time::timeout(DEADLINE, self.socket.next()).await;
        frame.expect("nothing came from the server")
    }

    /// The next message; pings of either kind are skipped, and do not prolong the wait.
    pub async fn receive(&mut self) -> Value {
        let message = tokio::time::timeout(DEADLINE, self.skip_pings()).await;
        self.checked(message.expect("nothing but pings came from the server"))
    }

    async fn skip_pings(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "Ping" {
                        return message;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    pub async fn transition(&mut self) -> Value {
        let message = self.receive().await;
        assert_eq!(message["type"], "Transition", "{message}");
        message
    }

    pub async fn response(&mut self, request: u32) -> Value {
        let message = self.receive().await;
        assert_eq!(message["type"], "MutationResponse", "{message}");
        assert_eq!(message["requestId"], request, "{message}");
        message
    }

    /// The one value that the next transition brings.
    pub async fn value(&mut self) -> Value {
        let transition = self.transition().await;
        let modifications = transition["modifications"].as_array().unwrap();
        assert_eq!(modifications.len(), 1, "{transition}");
        assert_eq!(modifications[0]["type"], "QueryUpdated", "{transition}");
        modifications[0]["value"].clone()
    }

    /// Until a transition brings this value, alone or with others before it.
    pub async fn shows(&mut self, wanted: Value) {
        loop {
            let transition = self.transition().await;
            let modifications = transition["modifications"].as_array().unwrap();
            if modifications.iter().any(|it| it["value"] == wanted) {
                return;
            }
        }
    }

    /// Everything until the close frame: `(messages, code, reason)`.
    pub async fn closed(&mut self) -> (Vec<Value>, u16, String) {
        let mut messages = Vec::new();
        loop {
            match self.frame().await {
                Some(Ok(Message::Text(text))) => {
                    messages.push(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (messages, frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a close frame, got {other:?} after {messages:?}"),
            }
        }
    }

    fn checked(&mut self, message: Value) -> Value {
        if message["type"] == "Transition" {
            assert_eq!(message["startVersion"], self.version, "{message}");
            assert!(message["clientClockSkew"].is_i64() && message["serverTs"].is_i64());
            let before = field_ts(&self.version["ts"]);
            assert!(field_ts(&message["endVersion"]["ts"]) >= before);
            self.version = message["endVersion"].clone();
        }
        message
    }
}
