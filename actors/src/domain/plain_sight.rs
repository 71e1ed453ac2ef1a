//! A request as a person is shown it: what reorders a line is spelled out, and what had no place is counted. What is decided
//! on (rules, the answer `always`) is the request itself, never this.

use std::fmt::Write;

use super::permission::{Asked, Choice, Question};

/// Lines of one list that a person reads; the last of them counts the rest.
const LINES: usize = 20;

impl Asked {
    pub fn in_plain_sight(&self) -> Self {
        Self {
            title: spelled(&self.title),
            permission: self.permission.as_deref().map(spelled),
            patterns: list(&self.patterns),
            always: list(&self.always),
            details: self.details.as_deref().map(spelled),
            from: self.from.as_deref().map(spelled),
            questions: self.questions.iter().map(question).collect(),
            ..self.clone()
        }
    }
}

fn list(texts: &[String]) -> Vec<String> {
    if texts.len() <= LINES {
        return texts.iter().map(|text| spelled(text)).collect();
    }
    let (shown, left) = texts.split_at(LINES - 1);
    let count = format!("… and {} more", left.len());
    let shown = shown.iter().map(|text| spelled(text));
    shown.chain([count]).collect()
}

/// A label stays as it is: it is what the answer names.
fn question(question: &Question) -> Question {
    let choice = |choice: &Choice| Choice {
        label: choice.label.clone(),
        description: choice.description.as_deref().map(spelled),
    };
    Question {
        question: spelled(&question.question),
        header: question.header.as_deref().map(spelled),
        options: question.options.iter().map(choice).collect(),
        ..question.clone()
    }
}

/// With the names of characters that show a line in another order than it is read in, or do not show at all. Spelling twice changes nothing more.
pub fn spelled(text: &str) -> String {
    if !text.chars().any(is_disguise) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_disguise(c) {
            let _ = write!(shown, "<U+{:04X}>", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_disguise(c: char) -> bool {
    reorders(c)
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{61c}' | '\u{feff}')
}

/// What has no place in a name of one line.
pub fn breaks_a_line(c: char) -> bool {
    c.is_control() || reorders(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Unicode's bidirectional embeddings, overrides and isolates; CVE-2021-42574 is what they are good for.
pub fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_reads_backwards_is_shown_as_it_runs() {
        let asked = Asked {
            title: "bash: ls \u{202e}fr- mr".to_owned(),
            details: Some("rm\u{200b} -rf é".to_owned()),
            ..Asked::default()
        };
        let shown = asked.in_plain_sight();
        assert_eq!(shown.title, "bash: ls <U+202E>fr- mr");
        assert_eq!(shown.details.as_deref(), Some("rm<U+200B> -rf é"));
    }

    #[test]
    fn what_has_no_place_in_a_list_is_counted() {
        let always = |count: usize| Asked {
            always: (0..count).map(|n| format!("echo {n}")).collect(),
            ..Asked::default()
        };
        assert_eq!(always(20).in_plain_sight().always.len(), 20);
        let shown = always(45).in_plain_sight().always;
        assert_eq!(shown.len(), 20);
        assert_eq!(shown.last().unwrap(), "… and 26 more");
    }

    #[test]
    fn an_options_label_is_what_the_answer_names() {
        let choice = Choice {
            label: "\u{202e}A".to_owned(),
            description: Some("\u{202e}a".to_owned()),
        };
        let asked = Asked {
            questions: vec![Question {
                options: vec![choice],
                ..Question::default()
            }],
            ..Asked::default()
        };
        let shown = asked.in_plain_sight();
        assert_eq!(shown.questions[0].options[0].label, "\u{202e}A");
        assert_eq!(
            shown.questions[0].options[0].description.as_deref(),
            Some("<U+202E>a")
        );
    }
}
