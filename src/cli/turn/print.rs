//! Prints an answer while it grows. What is on the terminal cannot be taken back: when the text turns out differently
//! (a reset), a new line begins and the text starts over. So the output always ends with exactly the final text.

use crate::cli::rows::PartRow;
use crate::ui::format::short;

/// What has been printed of the text since it last started over.
#[derive(Clone, Debug, Default)]
pub struct Printer {
    printed: String,
}

impl Printer {
    /// What to print so that the output ends with `text`.
    pub fn update(&mut self, text: &str) -> String {
        if let Some(rest) = text.strip_prefix(self.printed.as_str()) {
            let rest = rest.to_owned();
            self.printed.push_str(&rest);
            return rest;
        }
        let newline = if self.printed.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        text.clone_into(&mut self.printed);
        format!("{newline}{text}")
    }

    /// The same for the last time: the final text, and the newline that ends the output.
    pub fn finish(&mut self, text: &str) -> String {
        let mut rest = self.update(text);
        if !self.printed.is_empty() && !self.printed.ends_with('\n') {
            self.printed.push('\n');
            rest.push('\n');
        }
        rest
    }

    pub fn is_at_line_start(&self) -> bool {
        self.printed.is_empty() || self.printed.ends_with('\n')
    }
}

/// `✓ edited src/cart.rs`, once a tool has ended.
pub fn tool_line(state: &str) -> Option<String> {
    let state: orchestrator_actors::domain::item::ToolState = serde_json::from_str(state).ok()?;
    let mark = match state.status.as_str() {
        "completed" => "✓",
        "error" => "✗",
        _ => return None,
    };
    let title = state.title.filter(|title| !title.is_empty());
    let what = match (title, state.error) {
        (_, Some(error)) => format!("{}: {}", state.tool, short(&error, 80)),
        (Some(title), None) => format!("{} {}", state.tool, short(&title, 80)),
        (None, None) => state.tool,
    };
    Some(format!("{mark} {what}"))
}

/// A whole answer with a line for every tool, as `chat` shows it.
pub fn with_tools(parts: &[PartRow]) -> String {
    let mut text = String::new();
    let mut last = None;
    for part in parts {
        // The rows of one long part belong together.
        let is_next = last.replace(&part.part_id) != Some(&part.part_id);
        let line = match part.kind.as_str() {
            "text" => part.text.clone(),
            "tool" => match tool_line(&part.text) {
                Some(line) => format!("      {line}\n"),
                None => continue,
            },
            _ => continue,
        };
        if is_next && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_text_is_printed_as_it_comes() {
        let mut printer = Printer::default();
        assert_eq!(printer.update("he"), "he");
        assert_eq!(printer.update("he"), "");
        assert_eq!(printer.update("hello"), "llo");
        assert_eq!(printer.finish("hello"), "\n");
    }

    #[test]
    fn after_a_reset_the_whole_text_stands_at_the_end() {
        let mut printer = Printer::default();
        let mut out = printer.update("wrong w");
        out += &printer.update("");
        out += &printer.update("right");
        out += &printer.finish("right!");
        assert_eq!(out, "wrong w\nright!\n");
    }

    #[test]
    fn a_final_text_that_differs_is_printed_whole() {
        let mut printer = Printer::default();
        let mut out = printer.update("almost");
        out += &printer.finish("all of it\n");
        assert_eq!(out, "almost\nall of it\n");
        assert_eq!(Printer::default().finish(""), "");
    }

    #[test]
    fn a_tool_is_told_when_it_has_ended() {
        let state = |status: &str| {
            format!(r#"{{"tool":"write","callId":"c","status":"{status}","title":"a.txt"}}"#)
        };
        assert_eq!(tool_line(&state("running")), None);
        assert_eq!(
            tool_line(&state("completed")).as_deref(),
            Some("✓ write a.txt")
        );
        assert_eq!(tool_line("garbage"), None);
    }

    #[test]
    fn a_stored_answer_has_its_tools_where_they_ran() {
        let part = |id: &str, kind: &str, text: &str| PartRow {
            part_id: id.to_owned(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        let tool = r#"{"tool":"write","callId":"c","status":"completed","title":"a.txt"}"#;
        let parts = [
            part("a", "text", "I wr"),
            part("a", "text", "ite"),
            part("t", "tool", tool),
            part("r", "reasoning", "hm"),
            part("b", "text", "written"),
        ];
        assert_eq!(with_tools(&parts), "I write\n      ✓ write a.txt\nwritten");
    }
}
