//! What a run came to, out of how it ended and what it printed. A pure function: what Goose really says in each case is
//! in the tests below, as it was recorded.

use orchestrator_actors::domain::task::{Class, Failure};
use orchestrator_actors::ports::tasks::RunReport;

use super::transcript::{Last, OwnWords, Transcript};
use crate::adapters::oneshot::End;

pub fn verdict(end: &End, transcript: &Transcript) -> Result<RunReport, Failure> {
    if let Some(failure) = by_own_words(&transcript.own_words) {
        return Err(failure);
    }
    match &transcript.last {
        Last::Error(text) => Err(by_text(text)),
        Last::Complete if end.code == Some(0) => Ok(RunReport {
            summary: transcript.summary.clone(),
            turns: transcript.turns,
            input_tokens: transcript.input_tokens,
            output_tokens: transcript.output_tokens,
            tries: 1,
        }),
        _ => Err(end.unspoken("goose")),
    }
}

/// By what Goose said in its own name after the model's last words. A full context is followed by other complaints,
/// so it is looked for first.
fn by_own_words(words: &[OwnWords]) -> Option<Failure> {
    let context = words.iter().find(|words| {
        words.kind.as_deref() == Some("contextLengthExceeded")
            || words
                .text
                .starts_with("Ran into this error trying to compact")
    });
    if let Some(words) = context {
        return Some(Failure::new(Class::Context, in_one_line(&words.text)));
    }
    words.iter().rev().find_map(|words| {
        if words.kind.as_deref() == Some("authentication") {
            return Some(Failure::new(Class::Auth, in_one_line(&words.text)));
        }
        if words
            .text
            .starts_with("I've reached the maximum number of actions")
        {
            let message = "the assistant used up its turns";
            return Some(Failure::new(Class::TurnLimit, message));
        }
        let is_error = words.kind.is_some()
            || words.text.starts_with("Ran into this error")
            || words.text.starts_with("Network error:");
        is_error.then(|| by_text(&words.text))
    })
}

/// By the text of an error.
fn by_text(text: &str) -> Failure {
    let lower = text.to_lowercase();
    // An address may hold any word and, in its port, any number.
    let is_said = |word: &&str| !word.starts_with("http://") && !word.starts_with("https://");
    let said: Vec<&str> = lower.split(' ').filter(is_said).collect();
    let said = said.join(" ");
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    let class = if has(&["context length", "context_length", "maximum context"]) {
        Class::Context
    } else if has(&["authentication", "status: 401", "(401", "403 forbidden"]) {
        Class::Auth
    } else if has(&["quota", "billing", "credits", "payment required"]) {
        Class::Quota
    } else if has(&["rate limit", "status: 429", "(429"]) {
        Class::RateLimited
    } else if has(&["network error", "could not connect", "connection"]) {
        Class::Network
    } else if has(&["server error", "overloaded", "(500", "(502", "(503"]) {
        Class::Server
    } else if has(&["bad request", "(400)", "request failed", "not found"]) {
        Class::BadRequest
    } else {
        Class::Assistant
    };
    let mut failure = Failure::new(class, in_one_line(text));
    failure.retry_after_s = seconds_after(&lower, "retry after ");
    failure
}

fn seconds_after(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Its first paragraph: what follows is advice to somebody at a keyboard.
fn in_one_line(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> End {
        End {
            code: Some(code),
            ..End::default()
        }
    }

    fn own(kind: Option<&str>, text: &str) -> OwnWords {
        OwnWords {
            kind: kind.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    fn class_of(code: i32, words: Vec<OwnWords>, last: Last) -> Class {
        let transcript = Transcript {
            own_words: words,
            last,
            ..Transcript::default()
        };
        verdict(&exit(code), &transcript).unwrap_err().class
    }

    #[test]
    fn recorded_errors_are_their_classes() {
        for (text, class) in [
            (
                "Ran into this error: Authentication error: Authentication failed for http://h/v1/chat/completions. Status: 401 Unauthorized. Response: x.",
                Class::Auth,
            ),
            (
                "Ran into this error: Request failed: Bad request (400): x.",
                Class::BadRequest,
            ),
            (
                "Ran into this error: Rate limit exceeded: x.",
                Class::RateLimited,
            ),
            (
                "Ran into this error: Rate limit exceeded: You exceeded your current quota, please check your plan and billing details..",
                Class::Quota,
            ),
            (
                "Ran into this error: Server error: Server error (500 Internal Server Error) at http://h/v1: x.",
                Class::Server,
            ),
            (
                "Ran into this error: Server error: Server error (500 Internal Server Error) at http://127.0.0.1:42901/quota/v1: x.",
                Class::Server,
            ),
            (
                "Network error: Stream decode error: error decoding response body\n\nPlease resend your message to try again.",
                Class::Network,
            ),
            (
                "Network error: Could not connect to 127.0.0.1:1 — check your network connection and try again.",
                Class::Network,
            ),
        ] {
            // As the last line; and as Goose's own words alone, as without GOOSE_STATE_MACHINE, with exit code 0.
            let last = Last::Error(text.to_owned());
            assert_eq!(
                class_of(1, vec![own(Some("other"), text)], last),
                class,
                "{text}"
            );
            assert_eq!(
                class_of(0, vec![own(None, text)], Last::Complete),
                class,
                "{text}"
            );
        }
    }

    #[test]
    fn a_full_context_and_used_up_turns_are_failures_although_the_exit_code_is_0() {
        let limit = own(
            None,
            "I've reached the maximum number of actions I can do without user input. Would you like me to continue?",
        );
        let context = own(Some("contextLengthExceeded"), "Context length exceeded: x");
        assert_eq!(
            class_of(0, vec![limit.clone()], Last::Complete),
            Class::TurnLimit
        );
        assert_eq!(
            class_of(0, vec![context, limit], Last::Complete),
            Class::Context
        );
        let compact = own(None, "Ran into this error trying to compact: x.");
        assert_eq!(class_of(0, vec![compact], Last::Complete), Class::Context);
    }

    #[test]
    fn an_end_without_a_last_word_is_a_failure_with_its_reason() {
        assert_eq!(class_of(0, Vec::new(), Last::None), Class::Assistant);
        assert_eq!(class_of(1, Vec::new(), Last::Complete), Class::Assistant);
    }

    #[test]
    fn a_wait_that_the_provider_asks_for_is_kept() {
        assert_eq!(
            by_text("Rate limit exceeded. Retry after 17s").retry_after_s,
            Some(17)
        );
    }
}
