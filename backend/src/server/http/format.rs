//! How numbers and what JSON has no word for are written.
//!
//! `format: "json"`: values without Convex's `$` encodings, for readers that are not Convex clients.
//!
//! An int64 becomes a decimal string (a JSON number would lose digits), bytes stay base64, and floats that JSON has no
//! number for become their names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(fields) => {
            if fields.len() == 1
                && let Some((name, Value::String(text))) = fields.iter().next()
                && let Some(special) = special(name, text)
            {
                return special;
            }
            Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, plain(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

/// Every plain number as the float that it is, with a point or an exponent: PyPI's HTTP client takes no others.
pub(super) fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or(Value::Null, Value::Number),
        Value::Array(items) => Value::Array(items.into_iter().map(floats).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, floats(value)))
                .collect(),
        ),
        other => other,
    }
}

/// No field of a document begins with `$`, so these are never somebody's data.
fn special(name: &str, text: &str) -> Option<Value> {
    let eight = |text: &str| <[u8; 8]>::try_from(STANDARD.decode(text).ok()?).ok();
    Some(match name {
        "$integer" => Value::String(i64::from_le_bytes(eight(text)?).to_string()),
        "$float" => {
            let float = f64::from_le_bytes(eight(text)?);
            Number::from_f64(float).map_or_else(|| Value::String(float_name(float)), Value::Number)
        }
        "$bytes" => Value::String(text.to_owned()),
        _ => return None,
    })
}

fn float_name(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float > 0.0 {
        "Infinity".to_owned()
    } else {
        "-Infinity".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_written_as_floats() {
        let value = floats(json!({"a": [1, -2.5, {"b": 3}], "c": {"$integer": "AA=="}}));
        assert_eq!(
            value.to_string(),
            r#"{"a":[1.0,-2.5,{"b":3.0}],"c":{"$integer":"AA=="}}"#
        );
    }

    #[test]
    fn encodings_become_plain_json() {
        let encode = |bytes: [u8; 8]| STANDARD.encode(bytes);
        let value = json!({
            "int": {"$integer": encode((-5i64).to_le_bytes())},
            "nan": {"$float": encode(f64::NAN.to_le_bytes())},
            "zero": [{"$float": encode((-0.0f64).to_le_bytes())}],
            "bytes": {"$bytes": "AQID"},
            "text": "$integer",
        });
        let expected =
            json!({"int": "-5", "nan": "NaN", "zero": [-0.0], "bytes": "AQID", "text": "$integer"});
        assert_eq!(plain(value), expected);
    }
}
