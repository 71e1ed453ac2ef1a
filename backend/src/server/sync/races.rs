//! A connection whose engine is played by the test, event by event, so that an unlucky order of threads is an order of
//! lines.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::extract::ws::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::connection::serve;
use super::fuzz::wire::Wire;
use crate::engine::{MutationOutcome, WriteSet};
use crate::server::app::{App, Instance};
use crate::server::engine_thread::{Command, EngineEvent, EngineHandle, Generation};
use crate::server::identity::Verifier;
use crate::server::tuning::Tuning;

const DEADLINE: Duration = Duration::from_secs(20);

struct Played {
    say: UnboundedSender<Message>,
    hear: UnboundedReceiver<Message>,
    commands: mpsc::Receiver<Command>,
    events: UnboundedSender<EngineEvent>,
}

impl Played {
    /// A connection that has said `Connect`. The public timestamp stays where it is: 0.
    fn start() -> Self {
        let (commands_in, commands) = mpsc::channel();
        let generation = Generation {
            commands: commands_in,
            ended: CancellationToken::new(),
        };
        let app = App::new(
            EngineHandle::played(),
            Verifier::new(&[]).unwrap(),
            Instance::default(),
            crate::server::Site::default(),
            Tuning::default(),
            CancellationToken::new(),
        );
        let (say, to_server) = unbounded_channel();
        let (to_client, hear) = unbounded_channel();
        let wire = Wire {
            to_server,
            to_client,
        };
        tokio::spawn(serve(wire, Arc::new(app), generation));
        let Command::Attach { events, .. } = commands.recv_timeout(DEADLINE).unwrap() else {
            panic!("the first command is Attach");
        };
        let played = Self {
            say,
            hear,
            commands,
            events,
        };
        played.say(&json!({
            "type": "Connect", "sessionId": "8b0e5b4e-31a5-4e1d-9a0c-6f3b8a0d5e11", "connectionCount": 0,
            "lastCloseReason": null,
        }));
        played
    }

    fn say(&self, message: &Value) {
        self.say.send(Message::text(message.to_string())).unwrap();
    }

    fn asked(&self) -> Command {
        self.commands.recv_timeout(DEADLINE).unwrap()
    }

    fn tell(&self, event: EngineEvent) {
        assert!(self.events.send(event).is_ok(), "the connection has ended");
    }

    async fn hear(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.hear.recv()).await;
            if let Message::Text(text) = message.unwrap().unwrap() {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }
}

fn timestamp(ts: u64) -> Value {
    json!(STANDARD.encode(ts.to_le_bytes()))
}

/// The connection had read the public timestamp before the commit, and found the answer in its channel after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_mutation_that_commits_while_the_timestamp_is_read_is_settled_by_its_transition() {
    let mut played = Played::start();
    played.say(&json!({ "type": "Mutation", "requestId": 3, "udfPath": "m:f", "args": [{}] }));
    assert!(matches!(played.asked(), Command::Mutation { .. }));
    played.tell(EngineEvent::Mutated {
        request: 3,
        outcome: MutationOutcome {
            storage_failed: false,
            result: Ok(Value::Null),
            writes: WriteSet::default(),
            ts: 11,
            log_lines: Vec::new(),
        },
    });
    let response = played.hear().await;
    assert_eq!(response["type"], "MutationResponse");
    assert_eq!(response["ts"], timestamp(11));
    let transition = played.hear().await;
    assert_eq!(transition["type"], "Transition");
    assert_eq!(
        transition["endVersion"]["ts"],
        timestamp(11),
        "{transition}"
    );
}
