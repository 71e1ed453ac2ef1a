//! What `opencode run --format json` prints, a line for each finished part, and what it comes to. A run is complete when its
//! last step ended with `stop`: one that only ended is not.

use orchestrator_actors::domain::task::{Class, Failure};
use orchestrator_actors::ports::tasks::RunReport;
use serde_json::Value;

use crate::adapters::oneshot::{self, End};

const SUMMARY_BYTES: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    summary: String,
    tools: u32,
    turns: u32,
    input_tokens: u64,
    output_tokens: u64,
    /// Why the last step ended: `stop`, `tool-calls`, `length`, …
    reason: Option<String>,
    error: Option<Value>,
}

impl oneshot::Transcript for Transcript {
    fn read_line(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            // A line that was cut off because it is too long: what a tool takes and gives can be.
            if oneshot::is_cut_off(line) {
                self.tools += 1;
            }
            return;
        };
        let part = &event["part"];
        match event["type"].as_str() {
            Some("step_start") => self.reason = None,
            Some("text") => {
                let text = part["text"].as_str().unwrap_or_default();
                self.summary = text.chars().take(SUMMARY_BYTES).collect();
            }
            Some("tool_use") => self.tools += 1,
            Some("step_finish") => {
                let tokens = |name: &str| part["tokens"][name].as_u64().unwrap_or(0);
                self.turns += 1;
                self.input_tokens += tokens("input");
                self.output_tokens += tokens("output");
                self.reason = part["reason"].as_str().map(str::to_owned);
            }
            Some("error") => self.error = Some(event["error"].clone()),
            _ => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.error.is_some() || self.reason.as_deref() == Some("stop")
    }

    fn has_used_tools(&self) -> bool {
        self.tools > 0
    }

    fn turns(&self) -> u32 {
        self.turns
    }
}

pub fn verdict(end: &End, transcript: &Transcript) -> Result<RunReport, Failure> {
    if let Some(error) = &transcript.error {
        return Err(of_error(error));
    }
    match transcript.reason.as_deref() {
        Some("stop") if end.code == Some(0) => Ok(RunReport {
            summary: transcript.summary.clone(),
            turns: transcript.turns,
            input_tokens: transcript.input_tokens,
            output_tokens: transcript.output_tokens,
            tries: 1,
        }),
        Some("length") => Err(Failure::new(
            Class::Context,
            "the model's answer was cut off at its length limit",
        )),
        _ => Err(end.unspoken("opencode")),
    }
}

fn of_error(error: &Value) -> Failure {
    let name = error["name"].as_str().unwrap_or_default();
    let said = error["data"]["message"].as_str().unwrap_or(name);
    let lower = said.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let class = match (name, error["data"]["statusCode"].as_u64()) {
        ("ProviderAuthError", _) | (_, Some(401 | 403)) => Class::Auth,
        ("ContextOverflowError", _) => Class::Context,
        _ if has(&["context length", "context_length"]) => Class::Context,
        ("MessageAbortedError", _) => Class::Aborted,
        _ if has(&["quota", "billing", "credits"]) => Class::Quota,
        (_, Some(402)) => Class::Quota,
        (_, Some(429)) => Class::RateLimited,
        (_, Some(500..)) => Class::Server,
        (_, Some(400..)) => Class::BadRequest,
        _ if has(&["connect", "network", "socket", "fetch failed"]) => Class::Network,
        _ => Class::Assistant,
    };
    Failure::new(class, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::oneshot::Transcript as _;

    fn read(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.read_line(line);
        }
        transcript
    }

    fn exit(code: i32) -> End {
        End {
            code: Some(code),
            ..End::default()
        }
    }

    const CALLS: &str = r#"{"type":"step_finish","part":{"reason":"tool-calls","tokens":{"input":100,"output":3}}}"#;
    const STOP: &str =
        r#"{"type":"step_finish","part":{"reason":"stop","tokens":{"input":50,"output":1}}}"#;

    #[test]
    fn a_run_whose_last_step_stopped_is_complete() {
        let transcript = read(&[
            r#"{"type":"text","part":{"text":"I will. "}}"#,
            r#"{"type":"tool_use","part":{"tool":"write"}}"#,
            CALLS,
            r#"{"type":"text","part":{"text":"ok"}}"#,
            STOP,
        ]);
        let report = verdict(&exit(0), &transcript).unwrap();
        assert_eq!((report.summary.as_str(), report.turns), ("ok", 2));
        assert_eq!((report.input_tokens, report.output_tokens), (150, 4));
        assert!(transcript.has_used_tools());
    }

    #[test]
    fn a_tool_whose_line_was_cut_off_was_used_all_the_same() {
        let cut = r#"{"type":"tool_use","part":{"tool":"read","state":{"output":"aaa"#;
        assert!(read(&[cut]).has_used_tools());
        assert!(!read(&["a warning of somebody's"]).has_used_tools());
    }

    #[test]
    fn one_that_only_ended_is_not() {
        for lines in [
            vec![],
            vec![CALLS],
            vec![STOP, r#"{"type":"step_start","part":{}}"#],
        ] {
            let failure = verdict(&exit(0), &read(&lines)).unwrap_err();
            assert_eq!(failure.class, Class::Assistant);
        }
    }

    #[test]
    fn errors_are_their_classes() {
        for (error, class) in [
            (
                r#"{"name":"APIError","data":{"message":"scripted 401","statusCode":401}}"#,
                Class::Auth,
            ),
            (
                r#"{"name":"APIError","data":{"message":"scripted 400","statusCode":400}}"#,
                Class::BadRequest,
            ),
            (
                r#"{"name":"APIError","data":{"message":"your quota","statusCode":429}}"#,
                Class::Quota,
            ),
            (
                r#"{"name":"APIError","data":{"message":"slow down","statusCode":429}}"#,
                Class::RateLimited,
            ),
            (
                r#"{"name":"APIError","data":{"message":"x","statusCode":503}}"#,
                Class::Server,
            ),
            (
                r#"{"name":"UnknownError","data":{"message":"Unable to connect"}}"#,
                Class::Network,
            ),
            (
                r#"{"name":"ContextOverflowError","data":{"message":"x"}}"#,
                Class::Context,
            ),
        ] {
            let line = format!(r#"{{"type":"error","error":{error}}}"#);
            let failure = verdict(&exit(1), &read(&[&line])).unwrap_err();
            assert_eq!(failure.class, class, "{error}");
        }
    }
}
