//! How a failed call reads: Convex's `Uncaught Error: …` with the function's own stack frames.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::engine::api::FunctionError;
use crate::engine::value::Value;

/// What `describe` in `load.js` tells of something thrown.
#[derive(Debug, Deserialize)]
pub struct Thrown {
    name: Option<String>,
    message: String,
    #[serde(default)]
    stack: String,
    #[serde(default, deserialize_with = "present")]
    data: Option<serde_json::Value>,
}

/// `null` is data like any other; only a missing field is none.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

impl Thrown {
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub fn is_out_of_memory(&self) -> bool {
        self.name.as_deref() == Some("InternalError") && self.message == "out of memory"
    }

    /// QuickJS throws it when there is no memory left for the error that says so; a function that throws it itself
    /// cannot be told from that.
    pub fn is_null(&self) -> bool {
        self.name.is_none() && self.message == "null"
    }

    pub fn is_interrupted(&self) -> bool {
        self.name.as_deref() == Some("InternalError") && self.message == "interrupted"
    }

    pub fn into_error(self) -> FunctionError {
        let mut message = match &self.name {
            Some(name) => format!("Uncaught {name}: {}", self.message),
            None => format!("Uncaught {}", self.message),
        };
        message.push_str(&frames(&self.stack));
        let data = self
            .data
            .and_then(|data| Value::from_json(&data).ok())
            .map(|data| data.to_json());
        FunctionError { message, data }
    }
}

/// The frames of deployed modules, as if they were in `convex/`; ours and native ones say nothing to anybody.
pub fn frames(stack: &str) -> String {
    let mut text = String::new();
    for line in stack.lines() {
        let Some(frame) = line.trim_start().strip_prefix("at ") else {
            continue;
        };
        let (function, place) = match frame.rsplit_once(" (") {
            Some((function, place)) => (function, place.trim_end_matches(')')),
            None => ("<anonymous>", frame),
        };
        if place.starts_with("convex/") || place == "native" || !place.contains(".js:") {
            continue;
        }
        let _ = write!(text, "\n    at {function} (../convex/{place})");
    }
    text
}

/// An error of a function that did not come out of its own code.
pub fn uncaught(message: &str) -> FunctionError {
    FunctionError {
        message: format!("Uncaught Error: {message}"),
        data: None,
    }
}

/// The engine's own failure: the disk, a module that does not load again.
pub fn internal(error: &dyn std::fmt::Display) -> FunctionError {
    FunctionError {
        message: format!("Internal error: {error}"),
        data: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convex_error_may_carry_null() {
        let thrown = |text| Thrown::parse(text).unwrap().into_error().data;
        let null = r#"{"name":"ConvexError","message":"null","data":null}"#;
        assert_eq!(thrown(null), Some(serde_json::Value::Null));
        assert_eq!(thrown(r#"{"name":"Error","message":"no"}"#), None);
    }

    #[test]
    fn only_the_functions_own_frames_are_shown() {
        let stack = "    at helper (lib/a.js:3:9)\n    at <anonymous> (messages.js:12:3)\n    at invoke \
                     (convex/server/functions:31:26)\n    at apply (native)\n";
        assert_eq!(
            frames(stack),
            "\n    at helper (../convex/lib/a.js:3:9)\n    at <anonymous> (../convex/messages.js:12:3)"
        );
    }
}
