//! OpenCode's V1 wire types, as much of them as we read. Lenient on purpose: unknown events, parts and fields are
//! normal (a start alone sends dozens), so nothing here fails because of something new.

use serde::Deserialize;
use serde_json::Value;

/// A message as `message.updated` and the message list show it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    pub id: String,
    pub role: String,
    #[serde(rename = "sessionID")]
    pub session: String,
    #[serde(rename = "parentID")]
    pub parent: Option<String>,
    pub time: Times,
    pub finish: Option<String>,
    pub error: Option<WireError>,
    pub cost: f64,
    pub tokens: Tokens,
    /// `true` on an assistant's message that only compacts the history; an object on users' messages.
    pub summary: Value,
}

impl Info {
    pub fn is_assistant(&self) -> bool {
        self.role == "assistant"
    }

    pub fn is_compaction(&self) -> bool {
        self.summary == Value::Bool(true)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Times {
    pub created: f64,
    pub completed: Option<f64>,
    pub end: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tokens {
    pub input: f64,
    pub output: f64,
    pub reasoning: f64,
    pub cache: Cache,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cache {
    pub read: f64,
    pub write: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WireError {
    pub name: String,
    pub data: Value,
}

/// A part of a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    pub id: String,
    #[serde(rename = "messageID")]
    pub message: String,
    #[serde(rename = "sessionID")]
    pub session: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub time: Times,
    pub synthetic: bool,
    pub tool: String,
    #[serde(rename = "callID")]
    pub call: String,
    pub state: ToolWire,
}

impl Part {
    /// A text or reasoning part whose text is final.
    pub fn is_closed(&self) -> bool {
        self.time.end.is_some()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolWire {
    pub status: String,
    pub input: Value,
    pub output: Option<String>,
    pub error: Option<String>,
    pub title: Option<String>,
    pub metadata: Value,
}

/// An element of `GET /session/:id/message`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stored {
    pub info: Info,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    #[serde(rename = "type")]
    pub kind: String,
    pub attempt: u32,
    pub message: String,
    /// When the next try starts, in milliseconds since the epoch; the pump makes it the time until then.
    pub next: f64,
}

/// A pending permission request or question.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    pub id: String,
    #[serde(rename = "sessionID")]
    pub session: String,
    pub permission: String,
    pub patterns: Vec<String>,
    pub always: Vec<String>,
    pub metadata: Value,
    pub questions: Vec<Question>,
    pub tool: Option<Call>,
}

/// The tool call that asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Call {
    #[serde(rename = "messageID")]
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Question {
    #[serde(rename = "question")]
    pub text: String,
    pub header: String,
    pub options: Vec<Choice>,
    pub multiple: Option<bool>,
    pub custom: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Choice {
    pub label: String,
    pub description: String,
}

/// What arrives on `/event`.
#[derive(Clone, Debug)]
pub enum Event {
    Connected,
    Heartbeat,
    Message(Info),
    Part(Part),
    Delta {
        session: String,
        part: String,
        message: String,
        delta: String,
    },
    PartRemoved {
        part: String,
    },
    Status {
        session: String,
        status: Status,
    },
    Idle {
        session: String,
    },
    Error {
        session: Option<String>,
        error: WireError,
    },
    Asked(Request),
    Answered {
        request: String,
        rejected: bool,
    },
    Session {
        id: String,
        parent: Option<String>,
        title: String,
    },
    /// Anything else of a session.
    Other {
        session: Option<String>,
    },
}

impl Event {
    /// `None` for what is not an event at all.
    pub fn parse(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            properties: Value,
        }
        let Envelope {
            kind,
            mut properties,
        } = serde_json::from_str(text).ok()?;
        let text_of = |name: &str| properties[name].as_str().map(str::to_owned);
        let session = text_of("sessionID");
        let other = Self::Other {
            session: session.clone(),
        };
        let event = match kind.as_str() {
            "server.connected" => Some(Self::Connected),
            "server.heartbeat" => Some(Self::Heartbeat),
            "message.updated" => read(properties["info"].take()).map(Self::Message),
            "message.part.updated" => read(properties["part"].take()).map(Self::Part),
            "message.part.delta" if properties["field"] == "text" => Some(Self::Delta {
                session: session.unwrap_or_default(),
                part: text_of("partID").unwrap_or_default(),
                message: text_of("messageID").unwrap_or_default(),
                delta: text_of("delta").unwrap_or_default(),
            }),
            "message.part.removed" => text_of("partID").map(|part| Self::PartRemoved { part }),
            "session.status" => read(properties["status"].take()).map(|status| Self::Status {
                session: session.unwrap_or_default(),
                status,
            }),
            "session.idle" => session.map(|session| Self::Idle { session }),
            "session.error" => Some(Self::Error {
                session,
                error: read(properties["error"].take()).unwrap_or_default(),
            }),
            "permission.asked" | "question.asked" => read(properties).map(Self::Asked),
            "permission.replied" | "question.replied" | "question.rejected" => text_of("requestID")
                .map(|request| Self::Answered {
                    request,
                    rejected: kind == "question.rejected" || properties["reply"] == "reject",
                }),
            "session.created" | "session.updated" => {
                let info = &properties["info"];
                info["id"].as_str().map(|id| Self::Session {
                    id: id.to_owned(),
                    parent: info["parentID"].as_str().map(str::to_owned),
                    title: info["title"].as_str().unwrap_or_default().to_owned(),
                })
            }
            _ => None,
        };
        Some(event.unwrap_or(other))
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_events_and_fields_are_not_errors() {
        let event =
            r#"{"id":"evt_1","type":"plugin.added","properties":{"sessionID":"ses_1","x":[1]}}"#;
        assert!(
            matches!(Event::parse(event), Some(Event::Other { session: Some(s) }) if s == "ses_1")
        );
        assert!(Event::parse("<html>").is_none());
        let user = r#"{"type":"message.updated","properties":{"info":{"id":"m","role":"user","summary":{"diffs":[]},"new":1}}}"#;
        assert!(matches!(Event::parse(user), Some(Event::Message(info)) if !info.is_compaction()));
    }
}
