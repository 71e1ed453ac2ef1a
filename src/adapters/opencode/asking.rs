//! OpenCode's permission requests and questions as ours: in words for people, bounded, with what there is to look at.

use orchestrator_actors::domain::plain_sight::spelled;
use orchestrator_actors::ports::agent::{Asked, AskedKind, Choice, Question};
use serde_json::Value;

use super::wire::{self, Request};

/// What a model writes has no end of its own. The deployment cuts in the same places.
const TITLE_CHARS: usize = 500;
const DETAILS_UNITS: usize = 16_384;
const DETAILS_NOTE_UNITS: usize = 100;
const TEXT_CHARS: usize = 4_000;
const LINES: usize = 20;
const MOST_PATTERNS: usize = 50;

/// `from` is the sub-agent that asks.
pub fn asked(request: &Request, from: Option<&str>) -> Asked {
    let from = from
        .filter(|name| !name.trim().is_empty())
        .map(|name| cut(name, 200));
    // By its id, as the reply's place is: a question can come without any.
    if request.id.starts_with("que") || !request.questions.is_empty() {
        question(request, from)
    } else {
        permission(request, from)
    }
}

fn permission(request: &Request, from: Option<String>) -> Asked {
    let what = request.patterns.join(", ");
    let title = format!("{}: {what}", request.permission);
    Asked {
        kind: AskedKind::Permission,
        title: cut(title.trim_end_matches(": "), TITLE_CHARS),
        permission: Some(cut(&request.permission, 200)),
        patterns: patterns(&request.patterns),
        always: patterns(&request.always),
        details: details(&request.metadata),
        from,
        questions: Vec::new(),
        incomplete: is_cut(&request.patterns) || is_cut(&request.always),
    }
}

fn is_cut(all: &[String]) -> bool {
    all.len() > MOST_PATTERNS || all.iter().any(|text| text.chars().count() > TEXT_CHARS)
}

/// The deployment shows fewer.
fn patterns(all: &[String]) -> Vec<String> {
    let first = all.iter().take(MOST_PATTERNS);
    let mut patterns: Vec<String> = first.map(|text| cut(text, TEXT_CHARS)).collect();
    if all.len() > MOST_PATTERNS {
        patterns.push("…".to_owned());
    }
    patterns
}

fn question(request: &Request, from: Option<String>) -> Asked {
    let texts: Vec<&str> = request
        .questions
        .iter()
        .map(|question| question.text.as_str())
        .collect();
    Asked {
        kind: AskedKind::Question,
        title: match cut(&texts.join(" / "), TITLE_CHARS) {
            title if title.is_empty() => "a question without words".to_owned(),
            title => title,
        },
        from,
        questions: request.questions.iter().map(one_question).collect(),
        ..Asked::default()
    }
}

fn one_question(question: &wire::Question) -> Question {
    let not_empty = |text: &str| (!text.is_empty()).then(|| cut(text, TEXT_CHARS));
    let choice = |choice: &wire::Choice| Choice {
        label: choice.label.clone(),
        description: not_empty(&choice.description),
    };
    Question {
        question: cut(&question.text, TEXT_CHARS),
        header: not_empty(&question.header),
        options: question.options.iter().take(LINES).map(choice).collect(),
        multiple: question.multiple,
        custom: question.custom,
    }
}

/// A command or a change as it is; of anything else what OpenCode says of it.
fn details(metadata: &Value) -> Option<String> {
    for key in ["command", "diff", "url"] {
        if let Some(text) = metadata[key].as_str().filter(|text| !text.is_empty()) {
            return Some(beginning(text));
        }
    }
    let rest = metadata.as_object().filter(|rest| !rest.is_empty())?;
    let text = serde_json::to_string_pretty(rest).ok()?;
    Some(beginning(&text))
}

/// With how much is missing: whoever allows it has not seen that. Counted in UTF-16 units, as the deployment does.
/// Spelled before it is cut, because it grows by that.
fn beginning(text: &str) -> String {
    let text = spelled(text);
    let most = DETAILS_UNITS - DETAILS_NOTE_UNITS;
    let units = text.encode_utf16().count();
    if units <= most {
        return text;
    }
    let mut taken = 0;
    let shown = text.char_indices().find(|(_, c)| {
        taken += c.len_utf16();
        taken > most
    });
    let shown = &text[..shown.map_or(text.len(), |(at, _)| at)];
    let left = text[shown.len()..].chars().count();
    format!("{shown}\n… {left} characters more are not shown")
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(request: Value) -> Request {
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn a_permission_shows_what_would_be_done() {
        let bash = read(
            json!({"id": "per_1", "sessionID": "s", "permission": "bash", "patterns": ["echo hi", "ls"],
            "metadata": {"command": "echo hi && ls"}, "always": ["echo *"], "tool": {"messageID": "m", "callID": "c"}}),
        );
        let shown = asked(&bash, Some("explore"));
        assert_eq!(shown.title, "bash: echo hi, ls");
        assert_eq!(shown.details.as_deref(), Some("echo hi && ls"));
        assert_eq!(shown.always, ["echo *"]);
        assert_eq!(shown.from.as_deref(), Some("explore"));
        let edit = read(
            json!({"permission": "edit", "patterns": ["a.txt"], "metadata": {"filepath": "/w/a.txt", "diff": "Index: a"}}),
        );
        assert_eq!(asked(&edit, None).details.as_deref(), Some("Index: a"));
        let odd = read(json!({"permission": "doom_loop", "metadata": {"tool": "bash"}}));
        let shown = asked(&odd, None);
        assert_eq!(shown.title, "doom_loop");
        assert!(shown.details.unwrap().contains("\"tool\": \"bash\""));
    }

    #[test]
    fn a_question_has_its_options() {
        let which = read(
            json!({"id": "que_1", "questions": [{"question": "Which?", "header": "Pick", "multiple": true,
            "options": [{"label": "A", "description": "a"}, {"label": "B"}]}]}),
        );
        let shown = asked(&which, None);
        assert_eq!(
            (shown.kind, shown.title.as_str()),
            (AskedKind::Question, "Which?")
        );
        let question = &shown.questions[0];
        assert_eq!(question.header.as_deref(), Some("Pick"));
        assert_eq!(question.options[1].label, "B");
        assert_eq!(question.options[1].description, None);
        assert_eq!((question.multiple, question.custom), (Some(true), None));
    }

    #[test]
    fn a_question_that_asks_nothing_is_no_permission() {
        let empty = read(json!({"id": "que_2", "questions": []}));
        let shown = asked(&empty, None);
        assert_eq!(shown.kind, AskedKind::Question);
        assert!(!shown.title.is_empty());
    }

    #[test]
    fn what_is_cut_says_so() {
        let whole = read(json!({"permission": "bash", "patterns": ["ls"]}));
        assert!(!asked(&whole, None).incomplete);
        let many: Vec<String> = (0..=MOST_PATTERNS).map(|n| format!("true {n}")).collect();
        let many = read(json!({"permission": "bash", "patterns": many}));
        assert!(asked(&many, None).incomplete);
        let long = format!("git push {} --force", "x".repeat(TEXT_CHARS));
        let long = read(json!({"permission": "bash", "patterns": [long]}));
        assert!(asked(&long, None).incomplete);
    }

    #[test]
    fn what_is_endless_is_cut() {
        let huge = read(
            json!({"permission": "bash", "patterns": ["é".repeat(100_000)], "metadata": {"command": "x".repeat(1_000_000)}}),
        );
        let shown = asked(&huge, None);
        assert_eq!(shown.title.chars().count(), TITLE_CHARS + 1);
        let details = shown.details.unwrap();
        assert!(details.encode_utf16().count() <= DETAILS_UNITS);
        assert!(details.ends_with("x\n… 983716 characters more are not shown"));
        let wide = read(json!({"permission": "bash", "metadata": {"command": "𝕏".repeat(10_000)}}));
        let details = asked(&wide, None).details.unwrap();
        assert!(details.encode_utf16().count() <= DETAILS_UNITS);
        let hidden =
            read(json!({"permission": "bash", "metadata": {"command": "\u{200b}".repeat(4_000)}}));
        let hidden = asked(&hidden, None).details.unwrap();
        assert!(hidden.encode_utf16().count() <= DETAILS_UNITS);
        assert!(hidden.ends_with("characters more are not shown"));
        assert!(details.ends_with("𝕏\n… 1858 characters more are not shown"));
    }
}
