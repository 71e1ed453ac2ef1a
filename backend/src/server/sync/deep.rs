//! JSON that is nested more deeply than our parser goes. A call with such arguments has to fail by itself: a message that
//! cannot be read is fatal, and ends npm's client with all its other calls and subscriptions.
//!
//! So what lies deeper than [`KEPT`] levels is left out of the text before it is read again. Whatever is left is still
//! deeper than any function's arguments may be (64 levels), so that the call is refused and never run with less.

/// Levels that stay; the parser gives up at 128, and around the arguments are less than ten.
const KEPT: usize = 100;

pub(super) fn is_too_deep(error: &serde_json::Error) -> bool {
    // the only name that the crate gives it
    error.to_string().starts_with("recursion limit exceeded")
}

/// The text with `null` for every array and object that is nested more deeply.
pub(super) fn shallow(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(64 << 10));
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for c in text.chars() {
        let before = depth;
        match c {
            _ if in_string => {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            }
            '"' => in_string = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if before.max(depth) <= KEPT {
            kept.push(c);
        } else if before == KEPT {
            kept.push_str("null");
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn nested(levels: usize, inner: &str) -> String {
        format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn only_what_is_too_deep_is_left_out() {
        for text in [
            r#"{"a":"[[{\"]","b":[1,{"c":"\\"}]}"#.to_owned(),
            nested(KEPT, r#""]]\"[[",2"#),
        ] {
            assert_eq!(shallow(&text), text);
        }
        let deep = nested(KEPT, &format!("1,{},3", nested(40, r#""]\"{""#)));
        assert_eq!(shallow(&deep), nested(KEPT, "1,null,3"));
        assert!(is_too_deep(
            &serde_json::from_str::<Value>(&nested(130, "")).unwrap_err()
        ));
        assert!(serde_json::from_str::<Value>(&shallow(&nested(5000, ""))).is_ok());
        assert!(serde_json::from_str::<Value>(&shallow(&"[".repeat(5000))).is_err());
    }
}
