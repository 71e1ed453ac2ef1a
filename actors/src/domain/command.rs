//! What owners ask of a machine from afar, as the inbox names it and as the deployment hands it out; and what is to be
//! done about an inbox's commands. A command is carried out by whoever took it, and once: what is found under way
//! without anybody's hand on it was left by a crash, and is ended instead of begun again.
//!
//! Nothing of a command is trusted to be well made, whoever sent it: names that are no names are refused here, too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;

use super::ids::{CommandId, RoleId, RoomId};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCommand {
    pub command_id: CommandId,
    pub state: CommandState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    Pending,
    Processing,
}

/// What a worker has to do about one command of its inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Nobody has it: try to be the one.
    Take(CommandId),
    /// This worker took it and does not know of it any more.
    GiveUp(CommandId),
}

/// Compares the inbox with what is in hand. Pure, so a worker without memory comes to the same.
pub fn todo(open: &[OpenCommand], in_hand: &BTreeSet<CommandId>) -> Vec<Todo> {
    open.iter()
        .filter(|command| !in_hand.contains(&command.command_id))
        .map(|command| match command.state {
            CommandState::Pending => Todo::Take(command.command_id.clone()),
            CommandState::Processing => Todo::GiveUp(command.command_id.clone()),
        })
        .collect()
}

/// Which part an assistant plays: at most one assistant of a worker plays it at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    pub room: RoomId,
    pub role: RoleId,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.room, self.role)
    }
}

/// An assistant for a part, as the deployment wants it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Casting {
    pub part: Part,
    /// By the name under which the machine has reported it; which program that is, is the machine's to know.
    pub tool: String,
    pub directory: PathBuf,
    /// Made by the deployment. It reaches the assistant through its stdin.
    pub prompt: String,
}

/// A command in the hands of this worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Ping,
    Status,
    Start(Casting),
    Stop(Part),
}

/// How `commands:ack` hands a command out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedOut {
    #[serde(rename = "type")]
    kind: String,
    room: Option<String>,
    role: Option<String>,
    tool: Option<String>,
    working_directory: Option<PathBuf>,
    prompt: Option<String>,
}

/// Why a command is not carried out, in the row's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    pub code: &'static str,
    pub message: String,
}

impl Refused {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// As long as the deployment's own bound.
const NAME_CHARS: usize = 128;
/// A prompt of the deployment's has a few hundred.
const PROMPT_BYTES: usize = 64 * 1024;

impl HandedOut {
    pub fn order(self) -> Result<Order, Refused> {
        match self.kind.as_str() {
            "ping" => Ok(Order::Ping),
            "status" => Ok(Order::Status),
            "stop-agent" => Ok(Order::Stop(self.part()?)),
            "start-agent" => Ok(Order::Start(self.casting()?)),
            other => Err(Refused::new(
                "unknown",
                format!("this version does not know the command {}", quoted(other)),
            )),
        }
    }

    fn part(&self) -> Result<Part, Refused> {
        Ok(Part {
            room: RoomId::new(name("room", self.room.as_deref())?),
            role: RoleId::new(name("role", self.role.as_deref())?),
        })
    }

    fn casting(self) -> Result<Casting, Refused> {
        let part = self.part()?;
        let tool = name("tool", self.tool.as_deref())?;
        let directory = self
            .working_directory
            .filter(|path| path.is_absolute())
            .ok_or_else(|| Refused::new("invalid", "the command names no absolute directory"))?;
        let prompt = self
            .prompt
            .filter(|prompt| !prompt.is_empty() && prompt.len() <= PROMPT_BYTES)
            .ok_or_else(|| Refused::new("invalid", "the command has no usable prompt"))?;
        Ok(Casting {
            part,
            tool,
            directory,
            prompt,
        })
    }
}

fn name(what: &str, given: Option<&str>) -> Result<String, Refused> {
    let given = given.unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if given.is_empty() || given.len() > NAME_CHARS || !given.chars().all(plain) {
        let message = format!(
            "{what} {} is no name: letters, digits, - and _ make one",
            quoted(given)
        );
        return Err(Refused::new("invalid", message));
    }
    Ok(given.to_owned())
}

/// Short and without what a terminal would act on.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn open(id: &str, state: CommandState) -> OpenCommand {
        OpenCommand {
            command_id: id.into(),
            state,
        }
    }

    fn order(given: Value) -> Result<Order, Refused> {
        serde_json::from_value::<HandedOut>(given).unwrap().order()
    }

    fn start(change: &[(&str, Value)]) -> Value {
        let mut given = json!({
            "commandId": "c", "type": "start-agent", "room": "shop", "role": "builder", "tool": "opencode",
            "workingDirectory": "/home/me/shop", "prompt": "you are",
        });
        for (field, value) in change {
            given[*field] = value.clone();
        }
        given
    }

    #[test]
    fn what_is_in_hand_is_left_alone_and_what_nobody_knows_of_is_ended() {
        let inbox = [
            open("a", CommandState::Pending),
            open("b", CommandState::Processing),
            open("c", CommandState::Pending),
            open("d", CommandState::Processing),
        ];
        let in_hand = BTreeSet::from(["c".into(), "d".into()]);
        assert_eq!(
            todo(&inbox, &in_hand),
            [Todo::Take("a".into()), Todo::GiveUp("b".into())]
        );
    }

    #[test]
    fn well_made_commands_are_understood() {
        assert_eq!(
            order(json!({ "commandId": "c", "type": "ping" })),
            Ok(Order::Ping)
        );
        let Ok(Order::Start(casting)) = order(start(&[])) else {
            panic!("a start");
        };
        assert_eq!(casting.part.to_string(), "shop/builder");
        let stop =
            json!({ "commandId": "c", "type": "stop-agent", "room": "shop", "role": "builder" });
        assert_eq!(order(stop), Ok(Order::Stop(casting.part)));
    }

    #[test]
    fn a_forged_payload_with_shell_characters_is_refused() {
        for (field, value) in [
            ("tool", json!("opencode; rm -rf ~")),
            ("tool", json!("../../bin/sh")),
            ("room", json!("$(id)")),
            ("role", json!("a b")),
            ("role", json!("a\u{1b}[31m")),
            ("role", json!("")),
            ("room", json!("x".repeat(129))),
            ("workingDirectory", json!("shop")),
            ("workingDirectory", Value::Null),
            ("prompt", Value::Null),
            ("prompt", json!("x".repeat(PROMPT_BYTES + 1))),
            ("type", json!("sh -c id")),
        ] {
            let refused = order(start(&[(field, value.clone())])).unwrap_err();
            assert!(
                !refused.message.contains('\u{1b}') && refused.message.len() < 200,
                "{value}: {refused}"
            );
        }
    }
}
