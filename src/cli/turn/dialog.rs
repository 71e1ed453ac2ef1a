//! What a person at a terminal is shown of a request, and what their lines mean. Nothing here talks to anybody: whoever
//! owns the terminal gives lines in and gets texts and an answer out.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use orchestrator_actors::domain::permission::Question;
use serde_json::{Value, json};

use crate::cli::rows::RequestRow;
use crate::ui::format::printable_lines;

/// Of a diff or a command, before the rest is left out.
const DETAILS_LINES: usize = 40;

/// Nobody reads and answers in less: such a line was meant for what stood there before.
const READ_AT_LEAST: Duration = Duration::from_millis(500);

/// What came of a line.
#[derive(Debug, PartialEq)]
pub enum Typed {
    /// Not an answer, or not the last one yet: what to say, and then to ask again.
    Again(String),
    /// The arguments of `permissions:answer`.
    Answer(Value),
}

/// The requests of one turn, one after the other.
#[derive(Debug, Default)]
pub struct Dialog {
    present: Option<RequestRow>,
    /// Since when the present one is asked.
    since: Option<Instant>,
    /// Of the present one, to its questions so far.
    answers: Vec<Value>,
    /// Those that were answered here: a list that is older than the answer still has them.
    done: HashSet<String>,
}

impl Dialog {
    /// The newest list of what is open: gives what is to be said about it.
    pub fn listed(&mut self, open: Vec<RequestRow>, now: Instant) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(present) = &self.present
            && !open.iter().any(|row| row.request_id == present.request_id)
        {
            said.push("(no answer is needed any more)".to_owned());
            self.present = None;
            self.answers.clear();
        }
        if self.present.is_none() {
            let mut open = open.into_iter();
            if let Some(next) = open.find(|row| !self.done.contains(&row.request_id)) {
                said.push(shown(&next));
                self.present = Some(next);
                self.since = Some(now);
            }
        }
        said
    }

    pub fn is_asking(&self) -> bool {
        self.present.is_some()
    }

    /// What stands before the cursor.
    pub fn prompt(&self) -> String {
        let Some(row) = &self.present else {
            return String::new();
        };
        match row.questions.get(self.answers.len()) {
            Some(question) => {
                let many = if question.multiple == Some(true) {
                    "s, with commas"
                } else {
                    ""
                };
                let own = if question.custom == Some(false) {
                    ""
                } else {
                    ", or a text of your own"
                };
                format!("the option's number{many}{own}; /reject> ")
            }
            None => "once, always, or reject [why]> ".to_owned(),
        }
    }

    pub fn typed(&mut self, line: &str, now: Instant) -> Typed {
        let Some(row) = self.present.clone() else {
            return Typed::Again(String::new());
        };
        let is_for_it = |since: Instant| now.duration_since(since) >= READ_AT_LEAST;
        if !self.since.is_some_and(is_for_it) {
            return Typed::Again(
                "(typed before this was asked, so not taken as its answer)".to_owned(),
            );
        }
        let line = line.trim();
        if row.kind == "question" {
            return self.answer_question(&row, line);
        }
        match reply(line) {
            Some((reply, message)) => {
                let mut args = json!({"requestId": row.request_id, "reply": reply});
                if let Some(message) = message {
                    args["message"] = json!(message);
                }
                self.is_done(&row);
                Typed::Answer(args)
            }
            None => Typed::Again(
                "type o(nce), a(lways) or r(eject), with a reason if you like".to_owned(),
            ),
        }
    }

    fn answer_question(&mut self, row: &RequestRow, line: &str) -> Typed {
        if line == "/reject" {
            self.is_done(row);
            return Typed::Answer(json!({"requestId": row.request_id, "reply": "reject"}));
        }
        let Some(question) = row.questions.get(self.answers.len()) else {
            return Typed::Again(String::new());
        };
        match chosen(question, line) {
            Ok(answer) => self.answers.push(answer),
            Err(why) => return Typed::Again(why),
        }
        if let Some(next) = row.questions.get(self.answers.len()) {
            return Typed::Again(shown_question(next));
        }
        let answers = std::mem::take(&mut self.answers);
        self.is_done(row);
        Typed::Answer(json!({"requestId": row.request_id, "reply": "answer", "answers": answers}))
    }

    /// The answer did not arrive: it is asked again.
    pub fn not_taken(&mut self, request: &str) {
        self.done.remove(request);
    }

    fn is_done(&mut self, row: &RequestRow) {
        self.done.insert(row.request_id.clone());
        self.present = None;
        self.answers.clear();
    }
}

/// `once`, `always`, `reject why`, or the beginnings of these.
fn reply(line: &str) -> Option<(&'static str, Option<&str>)> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let word = word.to_lowercase();
    let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
    let is = |whole: &str| !word.is_empty() && whole.starts_with(&word);
    if is("reject") || is("no") {
        return Some(("reject", rest));
    }
    // Nobody must allow something by a slip: a word more is not an answer.
    if rest.is_some() {
        return None;
    }
    if is("once") || is("yes") {
        Some(("once", None))
    } else if is("always") {
        Some(("always", None))
    } else {
        None
    }
}

/// The answer to one question: options by number or label, or a text of one's own.
pub fn chosen(question: &Question, line: &str) -> Result<Value, String> {
    if line.is_empty() {
        return Err("an answer is needed".to_owned());
    }
    let option = |text: &str| -> Option<&str> {
        let by_number = text
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        let by_number = by_number.and_then(|at| question.options.get(at));
        let by_label = || question.options.iter().find(|option| option.label == text);
        by_label().or(by_number).map(|option| option.label.as_str())
    };
    if let Some(label) = option(line) {
        return Ok(json!({"options": [label]}));
    }
    let labels: Option<Vec<&str>> = line.split(',').map(|text| option(text.trim())).collect();
    match labels {
        Some(labels) if question.multiple == Some(true) => Ok(json!({"options": labels})),
        _ if question.custom == Some(false) => Err(format!(
            "choose from 1 to {}{}",
            question.options.len(),
            if question.multiple == Some(true) {
                ", with commas"
            } else {
                ""
            }
        )),
        _ => Ok(json!({"options": [], "text": line})),
    }
}

/// A request in words, with what there is to look at.
pub fn shown(row: &RequestRow) -> String {
    let mut text = match (&row.from, row.kind.as_str()) {
        (Some(from), _) => format!("? {} ({from})", row.title),
        (None, _) => format!("? {}", row.title),
    };
    if row.kind == "question" {
        return match row.questions.first() {
            Some(first) => format!("?{}", shown_question(first)),
            None => printable_lines(&text),
        };
    }
    if let Some(details) = row
        .details
        .as_deref()
        .filter(|details| !row.title.ends_with(details))
    {
        for line in details.lines().take(DETAILS_LINES) {
            text.push_str("\n    ");
            text.push_str(line);
        }
        let left = details.lines().count().saturating_sub(DETAILS_LINES);
        if left > 0 {
            let _ = write!(text, "\n    … {left} lines more");
        }
    }
    if !row.always.is_empty() {
        let _ = write!(text, "\n  always: {}", row.always.join(", "));
    }
    printable_lines(&text)
}

fn shown_question(question: &Question) -> String {
    let mut text = format!(" {}", question.question);
    for (at, option) in question.options.iter().enumerate() {
        let _ = write!(text, "\n  {} {}", at + 1, option.label);
        if let Some(description) = &option.description {
            let _ = write!(text, ": {description}");
        }
    }
    printable_lines(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator_actors::domain::permission::Choice;

    fn row(id: &str, questions: Vec<Question>) -> RequestRow {
        RequestRow {
            request_id: id.to_owned(),
            session_id: "s".to_owned(),
            worker_id: "w".to_owned(),
            turn_id: "t".to_owned(),
            kind: if questions.is_empty() {
                "permission"
            } else {
                "question"
            }
            .to_owned(),
            state: "open".to_owned(),
            asked_at: 0.0,
            deadline: 1.0,
            title: "bash: git push".to_owned(),
            always: vec!["git push *".to_owned()],
            details: Some("git push && ls".to_owned()),
            from: None,
            questions,
        }
    }

    fn colours(multiple: bool, custom: Option<bool>) -> Question {
        let choice = |label: &str| Choice {
            label: label.to_owned(),
            description: None,
        };
        Question {
            question: "Which?".to_owned(),
            options: vec![choice("red"), choice("blue")],
            multiple: Some(multiple),
            custom,
            ..Question::default()
        }
    }

    #[test]
    fn a_permission_is_allowed_by_its_words_only() {
        let typed = |line: &str| {
            let mut dialog = Dialog::default();
            let asked = Instant::now();
            let said = dialog.listed(vec![row("r", Vec::new())], asked);
            assert_eq!(
                said,
                ["? bash: git push\n    git push && ls\n  always: git push *"]
            );
            dialog.typed(line, asked + READ_AT_LEAST)
        };
        let answer = |reply: &str| Typed::Answer(json!({"requestId": "r", "reply": reply}));
        for line in ["o", "once", "Once ", "y"] {
            assert_eq!(typed(line), answer("once"), "{line}");
        }
        assert_eq!(typed("a"), answer("always"));
        assert_eq!(typed("r"), answer("reject"));
        assert_eq!(
            typed("reject use the other remote"),
            Typed::Answer(
                json!({"requestId": "r", "reply": "reject", "message": "use the other remote"})
            )
        );
        for line in ["", "okay", "once more", "always!", "x", "always not"] {
            assert!(matches!(typed(line), Typed::Again(_)), "{line}");
        }
    }

    #[test]
    fn questions_are_asked_one_after_the_other() {
        let mut dialog = Dialog::default();
        let asked = Instant::now();
        let read = asked + READ_AT_LEAST;
        let both = vec![colours(false, None), colours(true, Some(false))];
        let said = dialog.listed(vec![row("r", both)], asked);
        assert_eq!(said, ["? Which?\n  1 red\n  2 blue"]);
        assert!(
            matches!(dialog.typed("deep green, please", read), Typed::Again(next) if next.contains("2 blue"))
        );
        assert!(matches!(dialog.typed("green", read), Typed::Again(why) if why.contains("1 to 2")));
        assert_eq!(
            dialog.typed("1, blue", read),
            Typed::Answer(json!({"requestId": "r", "reply": "answer", "answers": [
                {"options": [], "text": "deep green, please"}, {"options": ["red", "blue"]}]}))
        );
        assert!(!dialog.is_asking());
    }

    #[test]
    fn what_was_answered_is_not_asked_again_and_what_is_gone_is_not_asked_on() {
        let mut dialog = Dialog::default();
        let asked = Instant::now();
        let two = || vec![row("a", Vec::new()), row("b", Vec::new())];
        dialog.listed(two(), asked);
        let answered = asked + READ_AT_LEAST;
        assert!(matches!(dialog.typed("o", answered), Typed::Answer(_)));
        // The list is older than the answer.
        assert_eq!(dialog.listed(two(), answered).len(), 1);
        assert!(dialog.is_asking());
        assert_eq!(
            dialog.listed(Vec::new(), answered),
            ["(no answer is needed any more)"]
        );
        assert!(!dialog.is_asking());
    }

    #[test]
    fn a_line_that_was_typed_as_one_request_replaced_another_answers_neither() {
        let mut dialog = Dialog::default();
        let asked = Instant::now();
        dialog.listed(vec![row("harmless", Vec::new())], asked);
        let replaced = asked + Duration::from_mins(1);
        let said = dialog.listed(vec![row("another", Vec::new())], replaced);
        assert_eq!(said.len(), 2);
        let soon = replaced + READ_AT_LEAST / 2;
        assert!(
            matches!(dialog.typed("always", soon), Typed::Again(why) if why.contains("before"))
        );
        let read = replaced + READ_AT_LEAST;
        assert!(
            matches!(dialog.typed("once", read), Typed::Answer(args) if args["requestId"] == "another")
        );
    }

    #[test]
    fn an_answer_that_did_not_arrive_is_asked_for_again() {
        let mut dialog = Dialog::default();
        let asked = Instant::now();
        let open = || vec![row("r", Vec::new())];
        dialog.listed(open(), asked);
        dialog.typed("once", asked + READ_AT_LEAST);
        assert_eq!(
            dialog.listed(open(), asked + READ_AT_LEAST),
            Vec::<String>::new()
        );
        dialog.not_taken("r");
        assert_eq!(dialog.listed(open(), asked + READ_AT_LEAST).len(), 1);
        assert!(dialog.is_asking());
    }

    #[test]
    fn what_a_model_wrote_cannot_steer_the_terminal() {
        let mut hostile = row("r", Vec::new());
        hostile.title = "bash: \u{1b}[2Jls".to_owned();
        assert!(!shown(&hostile).contains('\u{1b}'));
    }
}
