//! Results as they may be sent: measured, fingerprinted and, when no client could read them, replaced by an error that
//! says so. Stock clients die of a frame of 16 MiB, connect again and die again; log lines are dropped before that.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::FunctionError;

/// A result within the limit, with its log lines.
pub(in crate::server) struct Fitted {
    pub(in crate::server) result: Result<Value, FunctionError>,
    pub(in crate::server) log_lines: Vec<String>,
    /// Encoded, log lines included.
    pub(in crate::server) bytes: usize,
    /// Of the result alone: a query that logs something else has not changed.
    pub(in crate::server) fingerprint: u64,
}

impl Fitted {
    pub(in crate::server) fn new(
        mut result: Result<Value, FunctionError>,
        mut log_lines: Vec<String>,
        limit: usize,
    ) -> Self {
        let (mut bytes, mut fingerprint) = measure_result(&result);
        if bytes > limit {
            result = Err(too_large(bytes, limit));
            (bytes, fingerprint) = measure_result(&result);
        }
        let (logged, _) = measure(&log_lines);
        if bytes + logged > limit {
            log_lines = Vec::new();
        } else {
            bytes += logged;
        }
        Self {
            result,
            log_lines,
            bytes,
            fingerprint,
        }
    }
}

fn measure_result(result: &Result<Value, FunctionError>) -> (usize, u64) {
    match result {
        Ok(value) => measure(value),
        Err(error) => measure(&json!({ "error": &error.message, "data": &error.data })),
    }
}

fn too_large(bytes: usize, limit: usize) -> FunctionError {
    FunctionError {
        message: format!(
            "the function's result is too large: {bytes} bytes encoded, the limit is {limit}; return less, in pages"
        ),
        data: None,
    }
}

/// About how many bytes a value takes, at a small part of the price of encoding it.
pub(in crate::server) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| weight(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| name.len() + weight(value) + 4)
                .sum::<usize>()
                + 2
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Size and fingerprint of an encoding, without keeping it.
fn measure(value: &impl Serialize) -> (usize, u64) {
    struct Meter {
        bytes: usize,
        hasher: DefaultHasher,
    }
    impl Write for Meter {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.bytes += buffer.len();
            self.hasher.write(buffer);
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut meter = Meter {
        bytes: 0,
        hasher: DefaultHasher::new(),
    };
    // neither the meter nor JSON values can fail to be written
    let _ = serde_json::to_writer(&mut meter, value);
    (meter.bytes, meter.hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(result: Result<Value, FunctionError>, lines: &[&str], limit: usize) -> Fitted {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Fitted::new(result, lines, limit)
    }

    #[test]
    fn equal_results_have_equal_fingerprints_whatever_was_logged() {
        let one = fit(Ok(json!({"a": [1, "x"]})), &["once"], 1000);
        assert_eq!(one.bytes, r#"{"a":[1,"x"]}"#.len() + r#"["once"]"#.len());
        let same = fit(Ok(json!({"a": [1, "x"]})), &["again"], 1000);
        assert_eq!(one.fingerprint, same.fingerprint);
        let other = fit(Ok(json!({"a": [1, "y"]})), &["once"], 1000);
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_log_lines_go_first() {
        let text = "x".repeat(200);
        let fitted = fit(Ok(json!(text)), &[&text], 300);
        assert!(fitted.result.is_ok() && fitted.log_lines.is_empty());
        let fitted = fit(Ok(json!(text)), &[], 199);
        assert!(fitted.result.unwrap_err().message.contains("too large"));
        let error = FunctionError {
            message: text.clone(),
            data: None,
        };
        let fitted = fit(Err(error), &[], 199);
        assert!(fitted.result.unwrap_err().message.contains("too large"));
    }
}
