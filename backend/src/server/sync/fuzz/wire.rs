//! A socket in memory, and what a client hears over it. The last thing said is a mutation whose answer shows that
//! everything before it has been dealt with.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Sink, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::spoken::Script;
use crate::server::app::App;
use crate::server::sync::connection::serve;

/// Nobody waits longer for an answer: the server has forgotten it.
const PATIENCE: Duration = Duration::from_secs(20);
/// The request that ends every conversation.
const LAST: u32 = u32::MAX;

pub(in crate::server::sync) struct Wire {
    pub(in crate::server::sync) to_server: UnboundedReceiver<Message>,
    pub(in crate::server::sync) to_client: UnboundedSender<Message>,
}

impl Stream for Wire {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.to_server.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Wire {
    type Error = ();

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), ()> {
        self.to_client.send(message).map_err(drop)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the server said until it closed, or until the transition after the last answer.
#[derive(Debug, Default)]
pub struct Heard {
    pub messages: Vec<Value>,
    pub close: Option<(u16, String)>,
}

pub async fn converse(app: &Arc<App>, messages: &[Message]) -> Result<Heard, String> {
    let (say, to_server) = unbounded_channel();
    let (to_client, mut hear) = unbounded_channel();
    let generation = app.engine.generation().map_err(|down| down.to_string())?;
    let wire = Wire {
        to_server,
        to_client,
    };
    let served = tokio::spawn(serve(wire, Arc::clone(app), generation));
    let last = json!({
        "type": "Mutation", "requestId": LAST, "udfPath": "rows:put", "args": [{ "key": "last" }],
    });
    for message in messages
        .iter()
        .cloned()
        .chain([Message::text(last.to_string())])
    {
        // An error: it has closed already, and has said why.
        let _ = say.send(message);
    }
    let mut heard = Heard::default();
    let listening = async {
        let mut answered = false;
        while let Some(message) = hear.recv().await {
            match message {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(text.as_str())
                        .map_err(|error| format!("the server said no JSON: {error}"))?;
                    answered |= message["requestId"] == LAST;
                    let settled = answered && message["type"] == "Transition";
                    heard.messages.push(message);
                    if settled {
                        break;
                    }
                }
                Message::Close(frame) => {
                    let frame = frame.ok_or("closed without a reason")?;
                    heard.close = Some((frame.code, frame.reason.to_string()));
                    break;
                }
                _ => {}
            }
        }
        Ok::<(), String>(())
    };
    match tokio::time::timeout(PATIENCE, listening).await {
        Ok(listened) => listened?,
        Err(_) => return Err(format!("no answer and no close after {heard:?}")),
    }
    drop(say);
    served
        .await
        .map_err(|panic| format!("the connection panicked: {panic}"))?;
    Ok(heard)
}

impl Heard {
    /// Everything that was taken was answered, in order, transitions chain, and each settles the answers before it.
    pub fn check(&self, script: &Script) -> Result<(), String> {
        self.check_settling()?;
        let mut version = json!({ "querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA=" });
        for transition in self.of("Transition") {
            if transition["startVersion"] != version {
                return Err(format!("{transition} does not start at {version}"));
            }
            version = transition["endVersion"].clone();
        }
        if let Some((code, reason)) = &self.close {
            return if *code == 1000 || reason.is_empty() {
                Err(format!("closed with {code} {reason:?}"))
            } else {
                Ok(())
            };
        }
        let answered: Vec<_> = self.of("MutationResponse").collect();
        let requests: Vec<_> = script.mutations.iter().copied().chain([LAST]).collect();
        let answers: Vec<_> = answered.iter().map(|it| it["requestId"].clone()).collect();
        if json!(answers) != json!(requests) {
            return Err(format!("{requests:?} were answered by {answers:?}"));
        }
        let actions = self.of("ActionResponse").count();
        if actions != script.actions {
            return Err(format!("{actions} answers to {} actions", script.actions));
        }
        let reached = (&version["querySet"], &version["identity"]);
        if reached != (&json!(script.query_set), &json!(script.identity)) {
            return Err(format!("the last transition ends at {version}"));
        }
        Ok(())
    }

    /// npm's client waits for a transition that is no older than the answer.
    fn check_settling(&self) -> Result<(), String> {
        let mut answered = 0;
        for message in &self.messages {
            match message["type"].as_str() {
                Some("MutationResponse") if !message["ts"].is_null() => {
                    answered = answered.max(timestamp(&message["ts"])?);
                }
                Some("Transition") if timestamp(&message["endVersion"]["ts"])? < answered => {
                    return Err(format!("{message} does not settle an answer of {answered}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.messages.iter().filter(move |it| it["type"] == kind)
    }
}

fn timestamp(encoded: &Value) -> Result<u64, String> {
    let bytes = encoded.as_str().and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes
        .map(u64::from_le_bytes)
        .ok_or_else(|| format!("{encoded} is no timestamp"))
}
