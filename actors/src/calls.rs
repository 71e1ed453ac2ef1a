//! The worker's side of the deployment's API, typed. What a call means is written beside its function in
//! `convex/`; this file only knows names, arguments and answers.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::domain::assistant::{Attachment, Carried};
use crate::domain::call::CallError;
use crate::domain::command::{Casting, HandedOut, Order, Refused};
use crate::domain::ids::{CommandId, ConversationId, ModelId, RequestKey, SessionId, TurnId};
use crate::domain::permission::{Asked, Reply, Standing};
use crate::domain::session::{Claim, Granted, Saying, Unsettled};
use crate::domain::token::WorkerToken;
use crate::machine::StartIdentity;
use crate::ports::Pending;
use crate::ports::link::{Credential, Link};

/// The deployment's answer to `workers:connect`. A worker that is not approved yet has an epoch, too.
#[derive(Clone, Debug, Deserialize)]
pub struct Connected {
    pub epoch: u64,
    pub name: String,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart where it is read, and nearly always the large one"
)]
enum ClaimAnswer {
    #[serde(rename_all = "camelCase")]
    Claimed {
        content: String,
        model: Option<ModelId>,
        #[serde(default)]
        agent: Option<String>,
        /// Absent when there are none.
        #[serde(default)]
        attachments: Vec<Attachment>,
        title: String,
        agent_session_id: Option<ConversationId>,
        abort: bool,
        next_index: f64,
        claimed_boot_id: String,
        first: bool,
        #[serde(default)]
        unsettled: Vec<UnsettledAnswer>,
    },
    Closed,
    NotNext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnsettledAnswer {
    turn_id: TurnId,
    next_index: f64,
}

pub fn connect(
    link: &Arc<dyn Link>,
    token: &Arc<WorkerToken>,
    identity: &StartIdentity,
    store_id: String,
) -> Pending<Result<Connected, CallError>> {
    let args = json!({
        "token": token.expose(),
        "installId": identity.install_id,
        "startId": identity.start_id,
        "bootId": identity.boot_id,
        "storeId": store_id,
        "takeOver": identity.take_over,
        "machine": { "hostname": identity.hostname, "os": identity.os, "tools": identity.tools },
    });
    let answer = link.mutate("workers:connect", args);
    Box::pin(async move {
        let value = answer.await?;
        let epoch = value
            .get("epoch")
            .and_then(Value::as_f64)
            .ok_or_else(|| unreadable("workers:connect", &value))?;
        let name = value
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Ok(Connected {
            epoch: epoch as u64,
            name,
        })
    })
}

pub fn disconnect(
    link: &Arc<dyn Link>,
    credential: &Credential,
) -> Pending<Result<Value, CallError>> {
    link.mutate("workers:disconnect", authorized(credential, json!({})))
}

pub fn beat(link: &Arc<dyn Link>, credential: &Credential) -> Pending<Result<Value, CallError>> {
    link.mutate("presence:beat", authorized(credential, json!({})))
}

/// The bytes of what goes along with a turn's message, piece by piece: each is asked for once, and waits over an outage.
pub fn attachments(
    link: &Arc<dyn Link>,
    credential: &Credential,
    turn: &TurnId,
    attachments: Vec<Attachment>,
) -> Pending<Result<Vec<Carried>, CallError>> {
    let (link, credential, turn) = (Arc::clone(link), credential.clone(), turn.clone());
    Box::pin(async move {
        let mut all = Vec::with_capacity(attachments.len());
        for Attachment {
            id,
            name,
            mime,
            bytes,
        } in attachments
        {
            // Base64 of what three divides but for the end: the pieces in their order are the whole.
            let whole = usize::try_from(bytes.div_ceil(3) * 4).unwrap_or(usize::MAX);
            let mut base64 = String::new();
            let mut index = 0;
            while base64.len() < whole {
                let args = json!({"turnId": turn, "id": id, "index": index});
                let args = authorized(&credential, args);
                let (to, mut answers) = mpsc::channel(1);
                link.watch("attachments:fetch", args, to);
                match answers.recv().await.unwrap_or(Err(CallError::Closed))? {
                    Value::String(piece) if !piece.is_empty() => base64.push_str(&piece),
                    other => return Err(unreadable("attachments:fetch", &other)),
                }
                index += 1;
            }
            all.push(Carried { name, mime, base64 });
        }
        Ok(all)
    })
}

pub fn inbox_args(credential: &Credential) -> Value {
    authorized(credential, json!({}))
}

pub fn claim(
    link: &Arc<dyn Link>,
    credential: &Credential,
    turn: &TurnId,
) -> Pending<Result<Claim, CallError>> {
    let answer = link.mutate(
        "messages:claim",
        authorized(credential, json!({ "turnId": turn })),
    );
    Box::pin(async move {
        let value = answer.await?;
        match serde_json::from_value(value) {
            Ok(ClaimAnswer::Claimed {
                content,
                model,
                agent,
                attachments,
                title,
                agent_session_id,
                abort,
                next_index,
                claimed_boot_id,
                first,
                unsettled,
            }) => Ok(Claim::Granted(Box::new(Granted {
                content,
                model,
                agent,
                attachments,
                title,
                conversation: agent_session_id,
                abort,
                next_index: next_index as u64,
                claimed_boot: claimed_boot_id,
                first,
                unsettled: unsettled
                    .into_iter()
                    .map(|earlier| Unsettled {
                        turn: earlier.turn_id,
                        next_index: earlier.next_index as u64,
                    })
                    .collect(),
            }))),
            Ok(ClaimAnswer::Closed) => Ok(Claim::Closed),
            Ok(ClaimAnswer::NotNext) => Ok(Claim::NotNext),
            // The answer holds a person's message: only the shape's fault is told.
            Err(error) => Err(CallError::Server(format!(
                "messages:claim answered in an unknown form: {error}"
            ))),
        }
    })
}

/// The first confirmation of a session stays. The answer names that one, which may be another than this.
pub fn confirm(
    link: &Arc<dyn Link>,
    credential: &Credential,
    session: &SessionId,
    conversation: &ConversationId,
) -> Pending<Result<ConversationId, CallError>> {
    let args = json!({ "sessionId": session, "agentSessionId": conversation });
    let answer = link.mutate("sessions:confirm", authorized(credential, args));
    Box::pin(async move {
        let value = answer.await?;
        let stored = value.get("agentSessionId").and_then(Value::as_str);
        stored
            .map(ConversationId::from)
            .ok_or_else(|| unreadable("sessions:confirm", &value))
    })
}

pub fn retitle(
    link: &Arc<dyn Link>,
    credential: &Credential,
    session: &SessionId,
    title: &str,
) -> Pending<Result<Value, CallError>> {
    let args = json!({ "sessionId": session, "title": title });
    link.mutate("sessions:retitle", authorized(credential, args))
}

pub fn set_status(
    link: &Arc<dyn Link>,
    credential: &Credential,
    session: &SessionId,
    saying: Saying,
    reason: Option<String>,
) -> Pending<Result<Value, CallError>> {
    let mut args = json!({ "sessionId": session, "status": saying.as_str() });
    if let Some(reason) = reason {
        args["reason"] = reason.into();
    }
    link.mutate("sessions:setStatus", authorized(credential, args))
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum StandingAnswer {
    Open,
    Answered { answer: GivenAnswer },
    Withdrawn,
    Expired,
}

#[derive(Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
enum GivenAnswer {
    Once,
    Always,
    Reject { message: Option<String> },
    Answer { answers: Vec<GivenTo> },
}

#[derive(Deserialize)]
struct GivenTo {
    options: Vec<String>,
    text: Option<String>,
}

impl From<GivenAnswer> for Reply {
    fn from(given: GivenAnswer) -> Self {
        match given {
            GivenAnswer::Once => Self::Once,
            GivenAnswer::Always => Self::Always,
            GivenAnswer::Reject { message } => Self::Reject { message },
            GivenAnswer::Answer { answers } => Self::Answers(
                answers
                    .into_iter()
                    .map(|GivenTo { options, text }| options.into_iter().chain(text).collect())
                    .collect(),
            ),
        }
    }
}

/// Puts before its owner what the assistant of the turn asks.
pub fn ask(
    link: &Arc<dyn Link>,
    credential: &Credential,
    key: &RequestKey,
    turn: &TurnId,
    asked: &Asked,
    timeout_ms: u64,
) -> Pending<Result<Standing, CallError>> {
    let mut args = json!(asked.in_plain_sight());
    args["requestId"] = json!(key);
    args["turnId"] = json!(turn);
    args["timeoutMs"] = json!(timeout_ms as f64);
    standing(link, "permissions:ask", credential, args)
}

/// How a request has ended, of which the inbox says that it has.
pub fn take_request(
    link: &Arc<dyn Link>,
    credential: &Credential,
    key: &RequestKey,
) -> Pending<Result<Standing, CallError>> {
    let args = json!({ "requestId": key });
    standing(link, "permissions:take", credential, args)
}

/// The assistant does not wait for it any more.
pub fn withdraw_request(
    link: &Arc<dyn Link>,
    credential: &Credential,
    key: &RequestKey,
) -> Pending<Result<Standing, CallError>> {
    let args = json!({ "requestId": key });
    standing(link, "permissions:withdraw", credential, args)
}

fn standing(
    link: &Arc<dyn Link>,
    function: &'static str,
    credential: &Credential,
    args: Value,
) -> Pending<Result<Standing, CallError>> {
    let answer = link.mutate(function, authorized(credential, args));
    Box::pin(async move {
        match serde_json::from_value(answer.await?) {
            Ok(StandingAnswer::Open) => Ok(Standing::Open),
            Ok(StandingAnswer::Answered { answer }) => Ok(Standing::Answered(answer.into())),
            Ok(StandingAnswer::Withdrawn) => Ok(Standing::Withdrawn),
            Ok(StandingAnswer::Expired) => Ok(Standing::Expired),
            // The answer holds a person's words: only the shape's fault is told.
            Err(error) => Err(CallError::Server(format!(
                "{function} answered in an unknown form: {error}"
            ))),
        }
    })
}

/// What became of taking a command.
pub enum Taken {
    /// It is ours to carry out, if it makes sense.
    Ours(Result<Order, Refused>),
    /// Somebody else has it, or it has ended.
    Passed,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum AckAnswer {
    Taken { command: HandedOut },
    Closed,
    Passed,
}

pub fn take_command(
    link: &Arc<dyn Link>,
    credential: &Credential,
    command: &CommandId,
) -> Pending<Result<Taken, CallError>> {
    let args = json!({ "commandId": command, "state": "processing" });
    let answer = link.mutate("commands:ack", authorized(credential, args));
    Box::pin(async move {
        match serde_json::from_value(answer.await?) {
            Ok(AckAnswer::Taken { command }) => Ok(Taken::Ours(command.order())),
            Ok(AckAnswer::Closed | AckAnswer::Passed) => Ok(Taken::Passed),
            // Of a newer deployment, or forged: it is ours now, and ends with the reason.
            Err(error) => Ok(Taken::Ours(Err(Refused::new(
                "invalid",
                format!("the command has an unknown form: {error}"),
            )))),
        }
    })
}

pub fn end_command(
    link: &Arc<dyn Link>,
    credential: &Credential,
    command: &CommandId,
    result: &Result<String, Refused>,
) -> Pending<Result<(), CallError>> {
    let args = match result {
        Ok(result) => json!({ "commandId": command, "state": "completed", "result": result }),
        Err(refused) => json!({
            "commandId": command,
            "state": "failed",
            "error": { "code": refused.code, "message": refused.message },
        }),
    };
    let answer = link.mutate("commands:ack", authorized(credential, args));
    Box::pin(async move { answer.await.map(drop) })
}

/// Whether an assistant plays its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Running,
    Ended,
    Failed,
}

pub fn report_role(
    link: &Arc<dyn Link>,
    credential: &Credential,
    casting: &Casting,
    run: Run,
    reason: Option<String>,
) -> Pending<Result<Value, CallError>> {
    let state = match run {
        Run::Running => "running",
        Run::Ended => "ended",
        Run::Failed => "failed",
    };
    let mut run = json!({ "state": state });
    if let Some(reason) = reason {
        run["reason"] = reason.into();
    }
    let args = json!({
        "room": casting.part.room,
        "role": casting.part.role,
        "agentType": casting.tool,
        "workingDirectory": casting.directory,
        "run": run,
    });
    link.mutate("agentConfigs:update", authorized(credential, args))
}

/// Nobody plays any of the worker's roles any more.
pub fn end_roles(
    link: &Arc<dyn Link>,
    credential: &Credential,
) -> Pending<Result<Value, CallError>> {
    let args = authorized(credential, json!({}));
    link.mutate("agentConfigs:endRunning", args)
}

fn authorized(credential: &Credential, mut args: Value) -> Value {
    args["token"] = credential.token.expose().into();
    args["epoch"] = (credential.epoch as f64).into();
    args
}

fn unreadable(function: &str, value: &Value) -> CallError {
    CallError::Server(format!("{function} answered in an unknown form: {value}"))
}
