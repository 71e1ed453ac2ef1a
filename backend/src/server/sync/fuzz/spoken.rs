//! What the fuzzer says: conversations that are mostly right, with some messages bent, broken or made of anything.
//! What the server owes for a conversation that it takes whole is counted with the parser that it uses itself.

use axum::extract::ws::Message;
use bytes::Bytes;
use convex_sync_types::ClientMessage;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::server::sync::messages;

const SESSION: &str = "8b0e5b4e-31a5-4e1d-9a0c-6f3b8a0d5e11";

#[derive(Clone, Debug)]
pub struct Script {
    pub messages: Vec<Message>,
    /// The request ids of the mutations in it.
    pub mutations: Vec<u32>,
    pub actions: usize,
    /// Where its versions end.
    pub query_set: u32,
    pub identity: u32,
}

impl Script {
    fn new(messages: Vec<Message>) -> Self {
        let mut script = Self {
            messages,
            mutations: Vec::new(),
            actions: 0,
            query_set: 0,
            identity: 0,
        };
        for message in &script.messages {
            let Message::Text(text) = message else {
                continue;
            };
            match messages::parse(text.as_str()) {
                Ok(ClientMessage::Mutation { request_id, .. }) => script.mutations.push(request_id),
                Ok(ClientMessage::Action { .. }) => script.actions += 1,
                Ok(ClientMessage::ModifyQuerySet { new_version, .. }) => {
                    script.query_set = new_version;
                }
                Ok(ClientMessage::Authenticate { .. }) => script.identity += 1,
                _ => {}
            }
        }
        script
    }

    /// One line of the corpus, said by a client that has introduced itself.
    pub fn after_connect(line: &str) -> Self {
        let connect = json!({ "type": "Connect", "sessionId": SESSION, "connectionCount": 0, "lastCloseReason": null });
        Self::new(vec![
            Message::text(connect.to_string()),
            Message::text(line.to_owned()),
        ])
    }
}

/// One message as it was meant.
#[derive(Clone, Debug)]
enum Meant {
    Connect {
        count: Value,
        observed: Value,
    },
    Modify {
        skew: u32,
        modifications: Vec<Value>,
    },
    Authenticate {
        skew: u32,
        token: Value,
    },
    Mutation {
        path: String,
        args: Value,
    },
    Action {
        path: String,
        args: Value,
    },
    Event(Value),
}

/// What became of it on the way.
#[derive(Clone, Debug)]
enum Bent {
    Whole,
    Without(Index),
    With(Index, Value),
    Cut(Index),
    Text(String),
    Binary(Vec<u8>),
}

pub fn script() -> impl Strategy<Value = Script> {
    let introduction = prop_oneof![
        9 => Just((connect_plainly(), Bent::Whole)),
        1 => (connect(), bent()),
    ];
    let rest = prop::collection::vec((meant(), bent()), 0..6);
    (introduction, rest).prop_map(|(introduction, rest)| {
        let (mut query_set, mut identity, mut request) = (0, 0, 0);
        let said = [introduction].into_iter().chain(rest);
        let messages = said.map(|(meant, bent)| {
            let message = written(meant, &mut query_set, &mut identity, &mut request);
            broken(message, bent)
        });
        Script::new(messages.collect())
    })
}

fn connect_plainly() -> Meant {
    Meant::Connect {
        count: json!(0),
        observed: Value::Null,
    }
}

fn connect() -> impl Strategy<Value = Meant> {
    let count = prop_oneof![(0..3u32).prop_map(|count| json!(count)), anything()];
    let observed = prop_oneof![
        Just(Value::Null),
        Just(json!("AAAAAAAAAAA=")),
        Just(json!("//////////8=")),
        anything(),
    ];
    (count, observed).prop_map(|(count, observed)| Meant::Connect { count, observed })
}

fn meant() -> impl Strategy<Value = Meant> {
    let skew = prop_oneof![19 => Just(0u32), 1 => Just(1), 1 => Just(u32::MAX)];
    let modifications = prop::collection::vec(modification(), 0..3);
    let token = prop_oneof![
        9 => Just(json!({ "tokenType": "None" })),
        1 => any::<String>().prop_map(|text| json!({ "tokenType": "User", "value": text })),
        1 => Just(json!({ "tokenType": "Admin", "value": "key", "impersonating": null })),
    ];
    prop_oneof![
        1 => connect(),
        6 => (skew.clone(), modifications)
            .prop_map(|(skew, modifications)| Meant::Modify { skew, modifications }),
        2 => (skew, token).prop_map(|(skew, token)| Meant::Authenticate { skew, token }),
        6 => (path(), arguments()).prop_map(|(path, args)| Meant::Mutation { path, args }),
        1 => (path(), arguments()).prop_map(|(path, args)| Meant::Action { path, args }),
        1 => anything().prop_map(Meant::Event),
    ]
}

fn modification() -> impl Strategy<Value = Value> {
    let add = (0..6u32, path(), arguments(), prop::option::of(".{0,4}")).prop_map(
        |(query, path, args, journal)| json!({ "type": "Add", "queryId": query, "udfPath": path, "args": args, "journal": journal }),
    );
    prop_oneof![
        9 => add,
        3 => (0..6u32).prop_map(|query| json!({ "type": "Remove", "queryId": query })),
        1 => anything(),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let known = select(vec![
        "rows:get",
        "rows:put",
        "rows.js:get",
        "rows",
        "no/such:thing",
        "",
        ":",
        "a:b:c",
        "../up:x",
        "/abs:x",
        "a.mp3:x",
        "_system/x:y",
        "é:ü",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn arguments() -> impl Strategy<Value = Value> {
    let key = select(vec!["a", "b", "last"]);
    prop_oneof![
        6 => key.prop_map(|key| json!([{ "key": key }])),
        1 => Just(json!([])),
        1 => Just(json!([{}, {}])),
        1 => anything(),
        1 => anything().prop_map(|value| json!([{ "key": value }])),
    ]
}

/// Any JSON, small.
fn anything() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(vec![
            json!(-1),
            json!(0.5),
            json!(1e300),
            json!(4_294_967_296_u64)
        ]),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number,
        ".{0,6}".prop_map(Value::String),
        Just(json!({ "$integer": "BQAAAAAAAAA=" })),
        Just(json!({ "$float": "short" })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((select(vec!["type", "key", "$x", "a"]), inner), 0..3).prop_map(
                |fields| {
                    let fields = fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value));
                    Value::Object(fields.collect::<Map<_, _>>())
                }
            ),
        ]
    })
}

fn bent() -> impl Strategy<Value = Bent> {
    prop_oneof![
        40 => Just(Bent::Whole),
        2 => any::<Index>().prop_map(Bent::Without),
        4 => (any::<Index>(), anything()).prop_map(|(at, value)| Bent::With(at, value)),
        1 => any::<Index>().prop_map(Bent::Cut),
        1 => ".{0,40}".prop_map(Bent::Text),
        1 => (100..4000usize).prop_map(|depth| Bent::Text("[".repeat(depth))),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Bent::Binary),
    ]
}

/// With the versions and ids that a client which counts right would give it, and the skew that was meant.
fn written(meant: Meant, query_set: &mut u32, identity: &mut u32, request: &mut u32) -> Value {
    let call = |kind: &str, request: &mut u32, path, args| {
        *request += 1;
        json!({ "type": kind, "requestId": *request, "udfPath": path, "args": args })
    };
    match meant {
        Meant::Connect { count, observed } => json!({
            "type": "Connect", "sessionId": SESSION, "connectionCount": count, "lastCloseReason": null,
            "maxObservedTimestamp": observed, "clientTs": 7,
        }),
        Meant::Modify {
            skew,
            modifications,
        } => {
            let base = query_set.wrapping_add(skew);
            *query_set += 1;
            json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": *query_set, "modifications": modifications })
        }
        Meant::Authenticate { skew, token } => {
            let mut message = token;
            message["type"] = json!("Authenticate");
            message["baseVersion"] = json!(identity.wrapping_add(skew));
            *identity += 1;
            message
        }
        Meant::Mutation { path, args } => call("Mutation", request, path, args),
        Meant::Action { path, args } => call("Action", request, path, args),
        Meant::Event(event) => json!({ "type": "Event", "eventType": "x", "event": event }),
    }
}

fn broken(mut message: Value, bent: Bent) -> Message {
    let field = |message: &Value, at: Index| {
        let names: Vec<_> = message
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .collect();
        names[at.index(names.len())].clone()
    };
    match bent {
        Bent::Whole => {}
        Bent::Without(at) => {
            let name = field(&message, at);
            message.as_object_mut().map(|fields| fields.remove(&name));
        }
        Bent::With(at, value) => {
            let name = field(&message, at);
            message[name] = value;
        }
        Bent::Cut(at) => {
            let text: Vec<_> = message.to_string().chars().collect();
            return Message::text(text[..at.index(text.len())].iter().collect::<String>());
        }
        Bent::Text(text) => return Message::text(text),
        Bent::Binary(bytes) => return Message::Binary(Bytes::from(bytes)),
    }
    Message::text(message.to_string())
}
