//! `orchestrator session show`: the last messages, each whole, however long. What is still being answered is shown as far as it
//! has come.

use clap::Args;
use serde_json::{Value, json};

use super::Named;
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{AttachmentRow, MessageRow, Messages, PartRow, RequestRow, read};
use crate::cli::turn::print::with_tools;
use crate::cli::turn::{stored_parts, waits};
use crate::ui::format::bytes;

/// The last messages of a session
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    named: Named,

    /// How many messages
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,

    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Show {
    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let id = self.named.find(connection).await?.id;
        let args = json!({"sessionId": id, "limit": self.limit});
        let mut value = connection.client.query("messages:list", args).await?;
        let messages: Messages = read("messages:list", value.clone())?;
        for (at, row) in messages.messages.into_iter().enumerate() {
            let parts = whole(connection, &id, &row).await?;
            if self.json {
                put_parts(&mut value["messages"][at], &parts);
            } else {
                app.ui.foreign(&format!("{}\n", text_of(&row, &parts)));
            }
        }
        let waiting = connection
            .client
            .query("permissions:list", json!({"sessionId": id}));
        let waiting = waiting.await?;
        if self.json {
            let messages = &value["messages"];
            app.ui.json(
                &json!({"schema": 1, "session": id, "messages": messages, "requests": waiting}),
            );
        } else {
            let waiting: Vec<RequestRow> = read("permissions:list", waiting)?;
            for row in waiting {
                app.ui.foreign(&format!("{}\n", waits(&row)));
            }
        }
        Ok(Exit::Ok)
    }
}

/// All parts of an answer; of a user's message none.
pub async fn whole(
    connection: &Connection,
    session: &str,
    row: &MessageRow,
) -> Result<Vec<PartRow>, Failure> {
    if row.role == "user" || row.state.as_deref() == Some("queued") {
        return Ok(Vec::new());
    }
    stored_parts(connection, session, row.clone()).await
}

/// What a list may have left out, in the row as the deployment gave it. The rows of one long part become one.
pub fn put_parts(row: &mut Value, parts: &[PartRow]) {
    if row["role"] == "user" {
        return;
    }
    let mut joined: Vec<PartRow> = Vec::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.part_id == part.part_id => last.text.push_str(&part.text),
            _ => joined.push(part.clone()),
        }
    }
    let parts: Vec<Value> = joined
        .iter()
        .map(|part| json!({"partId": part.part_id, "kind": part.kind, "text": part.text}))
        .collect();
    row["parts"] = json!(parts);
    if let Some(fields) = row.as_object_mut() {
        fields.remove("partsOmitted");
    }
}

/// One message, as people read it.
pub fn text_of(message: &MessageRow, parts: &[PartRow]) -> String {
    if message.role == "user" {
        let mut lines = vec![format!(
            "you> {}",
            message.content.as_deref().unwrap_or_default()
        )];
        lines.extend(message.attachments.iter().map(along));
        return lines.join("\n");
    }
    let text = with_tools(parts);
    match standing(message) {
        Some(standing) => format!("{text}\n{standing}")
            .trim_start_matches('\n')
            .to_owned(),
        None => text,
    }
}

/// What went along with a message, in a line of its own.
pub fn along(file: &AttachmentRow) -> String {
    format!("[file: {}, {}]", file.name, bytes(file.bytes as u64))
}

/// `[interrupted: …]` of a turn that is not complete.
pub fn standing(message: &MessageRow) -> Option<String> {
    let state = message.state.as_deref().unwrap_or_default();
    let reason = message
        .error
        .as_ref()
        .map(|error| format!(": {}", error.message))
        .unwrap_or_default();
    (state != "complete").then(|| format!("[{state}{reason}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_long_part_are_one_in_json_and_nothing_is_said_to_be_missing() {
        let part = |id: &str, text: &str| PartRow {
            part_id: id.to_owned(),
            kind: "text".to_owned(),
            text: text.to_owned(),
        };
        let mut row = json!({"role": "assistant", "partsOmitted": true});
        put_parts(
            &mut row,
            &[part("a", "on"), part("a", "e"), part("b", "two")],
        );
        assert_eq!(row["parts"][0]["text"], "one");
        assert_eq!(row["parts"].as_array().map(Vec::len), Some(2));
        assert!(row.get("partsOmitted").is_none());
        let mut asked = json!({"role": "user", "content": "x"});
        put_parts(&mut asked, &[]);
        assert!(asked.get("parts").is_none());
    }
}
