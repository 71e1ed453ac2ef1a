//! The rows that the deployment's functions return, as far as commands read them.

use orchestrator_actors::domain::permission::Question;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRow {
    pub worker_id: String,
    pub machine_id: String,
    pub name: String,
    pub directory: String,
    /// `pending | approved | revoked`.
    pub state: String,
    /// When a supervisor last connected for it.
    pub connected_at: Option<f64>,
    /// What the supervisor that runs here calls it, when it serves it.
    #[serde(skip)]
    pub called: Option<String>,
}

impl WorkerRow {
    /// Its name as people see it in `ps`.
    pub fn label(&self) -> &str {
        self.called.as_deref().unwrap_or(&self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceRow {
    pub worker_id: String,
    pub last_beat: f64,
    pub disconnected: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRow {
    pub device_id: String,
    pub name: String,
    /// `open | paired | revoked`.
    pub state: String,
    pub open_until: f64,
    pub valid_until: f64,
    pub seen_at: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    pub session_id: String,
    pub worker_id: String,
    pub title: String,
    pub model: Option<String>,
    /// `pending | active | idle | ended | failed`.
    pub status: String,
    pub reason: Option<String>,
    /// How much its owner is asked.
    pub waiting: Option<f64>,
    pub created_at: f64,
    pub last_activity_at: f64,
}

impl SessionRow {
    /// Its status, and whether that is its owner's to change.
    pub fn standing(&self) -> &str {
        match self.waiting {
            Some(count) if count > 0.0 => "waiting",
            _ => &self.status,
        }
    }
}

/// What an assistant asks its owner.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRow {
    pub request_id: String,
    pub session_id: String,
    pub worker_id: String,
    pub turn_id: String,
    /// `permission | question`.
    pub kind: String,
    /// `open | answered | withdrawn | expired`.
    pub state: String,
    pub asked_at: f64,
    pub deadline: f64,
    pub title: String,
    #[serde(default)]
    pub always: Vec<String>,
    pub details: Option<String>,
    pub from: Option<String>,
    #[serde(default)]
    pub questions: Vec<Question>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRow {
    pub id: String,
    /// `user | assistant`.
    pub role: String,
    pub seq: f64,
    /// Of a turn: `queued | claimed | complete | interrupted | failed | aborted`.
    pub state: Option<String>,
    pub content: Option<String>,
    /// What went along with a user's message.
    #[serde(default)]
    pub attachments: Vec<AttachmentRow>,
    pub error: Option<ErrorRow>,
    pub usage: Option<UsageRow>,
    pub created_at: f64,
    pub finished_at: Option<f64>,
    pub parts: Option<Vec<PartRow>>,
    /// The interrupted turn that this message goes on with.
    pub continues: Option<String>,
    #[serde(default)]
    pub parts_omitted: bool,
    #[serde(default)]
    pub folded: bool,
}

impl MessageRow {
    /// A turn that will not change any more (but for a provisional close).
    pub fn is_closed(&self) -> bool {
        !matches!(self.state.as_deref(), None | Some("queued" | "claimed"))
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AttachmentRow {
    pub name: String,
    pub bytes: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ErrorRow {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageRow {
    pub input_tokens: f64,
    pub output_tokens: f64,
    pub reasoning_tokens: f64,
    pub cost: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartRow {
    pub part_id: String,
    /// `text | reasoning | tool`.
    pub kind: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemRow {
    pub index: f64,
    pub part_id: String,
    pub kind: String,
    pub content: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Page {
    pub items: Vec<ItemRow>,
    #[serde(default)]
    pub folded: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Messages {
    pub messages: Vec<MessageRow>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Parts {
    pub parts: Vec<PartRow>,
    pub next: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub session_id: String,
    pub turn_id: String,
    pub seq: f64,
}

/// Reads an answer; one that is not as agreed is the deployment's fault and says so.
pub fn read<T: DeserializeOwned>(function: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| {
        Failure::failed(format!(
            "{function} answered something else than agreed: {error}"
        ))
        .hint("are the deployment's functions of this version?")
    })
}
