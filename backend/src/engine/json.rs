//! Convex's JSON encoding: what JSON cannot say is an object with one `$` key (`$integer`, `$float`, `$bytes`,
//! each base64 of little-endian bytes). The wire, the store and the functions all use it.
//!
//! A field name that starts with `$` is refused here, so that no stored object can look like an encoding.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::value::{Object, Value};

/// Beyond it an integral float is written with an exponent or not at all exactly: JSON's own form is used.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Value {
    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| explain(&error))
    }

    /// Decodes an already parsed JSON value.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, String> {
        Self::deserialize(json).map_err(|error| explain(&error))
    }

    /// The JSON value that encodes it.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Int64(number) => tagged("$integer", &number.to_le_bytes()),
            Self::Float64(number) if !number.is_finite() || is_negative_zero(*number) => {
                tagged("$float", &number.to_le_bytes())
            }
            Self::Float64(number) if is_integral(*number) => Json::from(*number as i64),
            Self::Float64(number) => Json::from(*number),
            Self::Boolean(flag) => Json::Bool(*flag),
            Self::String(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => tagged("$bytes", bytes),
            Self::Array(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Object(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// The text form, without an intermediate tree.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) {
        match self {
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write_text(out);
                }
                out.push(']');
            }
            Self::Object(fields) => write_object(fields, out),
            Self::String(text) => write_string(text, out),
            scalar => out.push_str(&scalar.to_json().to_string()),
        }
    }
}

/// [`Value::to_text`] of an object.
pub fn object_text(fields: &Object) -> String {
    let mut out = String::new();
    write_object(fields, &mut out);
    out
}

fn write_object(fields: &Object, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        value.write_text(out);
    }
    out.push('}');
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[clean_from..at]);
        clean_from = at + 1;
        if escape.is_empty() {
            use fmt::Write as _;
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[clean_from..]);
    out.push('"');
}

fn tagged(tag: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({ tag: STANDARD.encode(bytes) })
}

fn is_negative_zero(number: f64) -> bool {
    number == 0.0 && number.is_sign_negative()
}

fn is_integral(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() <= EXACT
}

fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.contains("surrogate") || text.contains("hex escape") {
        return "a string is not valid Unicode (it has a lone surrogate)".into();
    }
    // The position inside our own encoding says nothing to whoever wrote the function.
    text.split(" at line ").next().unwrap_or(&text).to_string()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a Convex value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }

    // Plain JSON numbers are floats, whatever they look like.
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Float64(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Float64(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float64(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_string()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Object::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name.starts_with('$') {
                if !fields.is_empty() {
                    return Err(dollar_name(&name));
                }
                if !TAGS.contains(&name.as_str()) {
                    return Err(dollar_name(&name));
                }
                let text: String = entries.next_value()?;
                if entries.next_key::<String>()?.is_some() {
                    return Err(dollar_name(&name));
                }
                return decode_tagged(&name, &text);
            }
            if name.is_empty() || !name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
                return Err(de::Error::custom(format_args!(
                    "Field name {name:?} is not allowed: names are non-empty and printable ASCII"
                )));
            }
            let value = entries.next_value()?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

/// The names with a `$` that mean a value.
const TAGS: [&str; 3] = ["$integer", "$float", "$bytes"];

fn dollar_name<E: de::Error>(name: &str) -> E {
    E::custom(format_args!(
        "Field {name} starts with a '$', which is reserved"
    ))
}

fn decode_tagged<E: de::Error>(tag: &str, text: &str) -> Result<Value, E> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| E::custom(format_args!("`{tag}` does not hold base64")))?;
    let eight = || {
        <[u8; 8]>::try_from(bytes.as_slice())
            .map_err(|_| E::custom(format_args!("`{tag}` needs 8 bytes")))
    };
    match tag {
        "$integer" => Ok(Value::Int64(i64::from_le_bytes(eight()?))),
        "$float" => Ok(Value::Float64(f64::from_le_bytes(eight()?))),
        "$bytes" => Ok(Value::Bytes(bytes)),
        _ => Err(dollar_name(tag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::value::strategy;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_float_comes_back_to_the_last_bit(bits in prop::collection::vec(any::<u64>(), 200)) {
            for bits in bits {
                let text = Value::Float64(f64::from_bits(bits)).to_text();
                prop_assert!(matches!(Value::parse(&text), Ok(Value::Float64(back)) if back.to_bits() == bits));
            }
        }

        #[test]
        fn the_text_form_round_trips(value in strategy::value()) {
            let text = value.to_text();
            prop_assert_eq!(&Value::parse(&text).unwrap(), &value);
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&json, &value.to_json());
            prop_assert_eq!(Value::from_json(&json).unwrap(), value);
        }
    }

    #[test]
    fn numbers_are_floats_and_tags_are_decoded() {
        assert_eq!(Value::parse("5").unwrap(), Value::Float64(5.0));
        assert_eq!(
            Value::parse(r#"{"$integer":"BQAAAAAAAAA="}"#).unwrap(),
            Value::Int64(5)
        );
        assert_eq!(
            Value::Float64(-0.0).to_text(),
            r#"{"$float":"AAAAAAAAAIA="}"#
        );
    }

    #[test]
    fn what_is_not_a_value_is_named() {
        for (text, says) in [
            (r#"{"$other":"AA=="}"#, "$other"),
            (
                r#"{"$other":1}"#,
                "$other starts with a '$', which is reserved",
            ),
            (r#"{"a":1,"$integer":"BQAAAAAAAAA="}"#, "$integer"),
            (r#"{"$integer":"AA=="}"#, "8 bytes"),
            (r#"{"":1}"#, "non-empty"),
            (r#""\ud800""#, "surrogate"),
        ] {
            let error = Value::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
