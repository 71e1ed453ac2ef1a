//! `orchestrator session export`: a whole session as one document, to read or to keep. It pages through everything, so its length
//! is bounded by the session alone.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Named;
use super::show::{along, put_parts, standing, whole};
use crate::cli::connection::Connection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::globals::App;
use crate::cli::rows::{MessageRow, PartRow, SessionRow, read};
use crate::cli::turn::print::tool_line;
use crate::control::report::rfc3339;

/// Messages that are read at once.
const PAGE: u32 = 100;

/// Print a whole session as Markdown or JSON
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    named: Named,

    /// Markdown leaves reasoning and what tools printed out; JSON has everything
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Md,
    Json,
}

impl Export {
    pub fn wants_json(&self) -> bool {
        self.format == Format::Json
    }

    pub async fn execute(self, app: &App, connection: &Connection) -> Result<Exit, Failure> {
        let found = self.named.find(connection).await?;
        let args = json!({"sessionId": found.id});
        let mut session = connection.client.query("sessions:get", args).await?;
        let row: SessionRow = read("sessions:get", session.clone())?;
        let messages = all_messages(connection, &found.id).await?;
        if self.wants_json() {
            session["worker"] = json!(found.worker);
            let messages: Vec<Value> = messages
                .into_iter()
                .map(|(mut value, _, parts)| {
                    put_parts(&mut value, &parts);
                    value
                })
                .collect();
            app.ui
                .json(&json!({"schema": 1, "session": session, "messages": messages}));
        } else {
            app.ui.line(head(&row, &found.worker));
            for (_, message, parts) in &messages {
                app.ui.line(section(message, parts));
            }
        }
        Ok(Exit::Ok)
    }
}

/// Oldest first, each with all of its parts.
async fn all_messages(
    connection: &Connection,
    session: &str,
) -> Result<Vec<(Value, MessageRow, Vec<PartRow>)>, Failure> {
    let mut all = Vec::new();
    let mut before: Option<f64> = None;
    loop {
        let mut args = json!({"sessionId": session, "limit": PAGE});
        if let Some(before) = before {
            args["beforeSeq"] = json!(before);
        }
        let value = connection.client.query("messages:list", args).await?;
        let rows: Vec<Value> = read("messages:list", value["messages"].clone())?;
        let is_last = rows.len() < PAGE as usize;
        let mut page = Vec::new();
        for value in rows {
            let row: MessageRow = read("messages:list", value.clone())?;
            let parts = whole(connection, session, &row).await?;
            page.push((value, row, parts));
        }
        before = page.first().map(|(_, row, _)| row.seq);
        page.append(&mut all);
        all = page;
        if is_last {
            return Ok(all);
        }
    }
}

fn head(row: &SessionRow, worker: &str) -> String {
    let title = if row.title.is_empty() {
        &row.session_id
    } else {
        &row.title
    };
    let model = row
        .model
        .as_ref()
        .map(|model| format!(" · model {model}"))
        .unwrap_or_default();
    format!(
        "# {title}\n\nworker {worker} · session {} · {}{model} · begun {}\n",
        row.session_id,
        row.status,
        rfc3339(row.created_at as u64)
    )
}

fn section(message: &MessageRow, parts: &[PartRow]) -> String {
    let at = rfc3339(message.created_at as u64);
    if message.role == "user" {
        let content = message.content.as_deref().unwrap_or_default();
        let files: Vec<_> = message.attachments.iter().map(along).collect();
        let files = if files.is_empty() {
            String::new()
        } else {
            format!("\n{}\n", files.join("\n"))
        };
        return format!("## You, {at}\n\n{content}\n{files}");
    }
    let ended = message.finished_at.map_or(at, |end| rfc3339(end as u64));
    let mut blocks = vec![format!("## Assistant, {ended}")];
    let mut last = None;
    for part in parts {
        let goes_on = last.replace(&part.part_id) == Some(&part.part_id);
        let block = match part.kind.as_str() {
            "text" if !part.text.trim().is_empty() => part.text.clone(),
            "tool" => match tool_line(&part.text) {
                Some(line) => format!("- {line}"),
                None => continue,
            },
            _ => continue,
        };
        match blocks.last_mut() {
            Some(open) if goes_on => open.push_str(&block),
            // A list has no empty lines in it.
            Some(open) if block.starts_with("- ") && open.starts_with("- ") => {
                open.push('\n');
                open.push_str(&block);
            }
            _ => blocks.push(block),
        }
    }
    blocks.extend(standing(message).map(|standing| format!("*{standing}*")));
    let blocks: Vec<&str> = blocks.iter().map(|block| block.trim_end()).collect();
    blocks.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_section_with_its_tools_as_a_list() {
        let message: MessageRow = serde_json::from_value(json!({
            "id": "turn_1", "role": "assistant", "seq": 2, "state": "interrupted",
            "error": {"code": "crashed", "message": "it crashed"}, "createdAt": 0, "finishedAt": 1000,
        }))
        .unwrap();
        let part = |id: &str, kind: &str, text: &str| PartRow {
            part_id: id.to_owned(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        let tool = |title: &str| {
            format!(r#"{{"tool":"write","callId":"c","status":"completed","title":"{title}"}}"#)
        };
        let parts = [
            part("r", "reasoning", "hm"),
            part("a", "text", "I wr"),
            part("a", "text", "ite"),
            part("t", "tool", &tool("a.txt")),
            part("u", "tool", &tool("b.txt")),
            part("b", "text", "Done.\n"),
        ];
        assert_eq!(
            section(&message, &parts),
            "## Assistant, 1970-01-01T00:00:01Z\n\nI write\n\n- ✓ write a.txt\n- ✓ write b.txt\n\nDone.\n\n\
             *[interrupted: it crashed]*\n"
        );
    }
}
