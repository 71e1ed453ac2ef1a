//! Convex's values and their total order: null < int64 < float64 < boolean < string < bytes < array < object.
//! A field that is not there sorts before all of them; it is written `None::<&Value>` where that matters.
//!
//! Text forms are elsewhere: [`super::json`] for the wire and the store, [`super::key`] for index keys.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One Convex value. Objects are kept sorted by field name, as Convex does.
#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Int64(i64),
    Float64(f64),
    Boolean(bool),
    String(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Object(Object),
}

/// A document or any other object.
pub type Object = BTreeMap<String, Value>;

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Int64(_) => 1,
            Self::Float64(_) => 2,
            Self::Boolean(_) => 3,
            Self::String(_) => 4,
            Self::Bytes(_) => 5,
            Self::Array(_) => 6,
            Self::Object(_) => 7,
        }
    }

    /// Convex's size of a value in bytes, against which its limits are counted.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) => 1,
            Self::Int64(_) | Self::Float64(_) => 9,
            Self::String(text) => 2 + text.len(),
            Self::Bytes(bytes) => 2 + bytes.len(),
            Self::Array(items) => 2 + items.iter().map(Self::size).sum::<usize>(),
            Self::Object(fields) => object_size(fields),
        }
    }

    /// How deep arrays and objects are nested: a scalar is 0.
    pub fn nesting(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::nesting).max().unwrap_or(0),
            Self::Object(fields) => 1 + fields.values().map(Self::nesting).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The first thing in it that no value may be, in words.
    pub fn check_shape(&self, max_elements: usize, max_nesting: usize) -> Result<(), String> {
        let depth = self.nesting();
        if depth > max_nesting {
            return Err(format!(
                "Value is nested too deeply ({depth} levels, maximum {max_nesting})"
            ));
        }
        self.check_elements(max_elements)
    }

    fn check_elements(&self, max: usize) -> Result<(), String> {
        match self {
            Self::Array(items) if items.len() > max => Err(format!(
                "Array length is too long ({} > maximum length {max})",
                items.len()
            )),
            Self::Array(items) => items.iter().try_for_each(|item| item.check_elements(max)),
            Self::Object(fields) if fields.len() > MAX_FIELDS => Err(format!(
                "Object has too many fields ({} > maximum number {MAX_FIELDS})",
                fields.len()
            )),
            Self::Object(fields) => fields
                .values()
                .try_for_each(|field| field.check_elements(max)),
            _ => Ok(()),
        }
    }

    /// As Convex writes a value into an error message: `{name: "x", count: 1.0}`, shortened.
    pub fn display(&self) -> String {
        let mut text = String::new();
        self.write_display(&mut text);
        if text.len() > MAX_DISPLAY {
            let cut = (0..=MAX_DISPLAY)
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            text.truncate(cut);
            text.push('…');
        }
        text
    }

    fn write_display(&self, out: &mut String) {
        if out.len() > MAX_DISPLAY {
            return;
        }
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Null => write!(out, "null"),
            Self::Int64(number) => write!(out, "{number}n"),
            Self::Float64(number) => write!(out, "{number:?}"),
            Self::Boolean(flag) => write!(out, "{flag}"),
            Self::String(text) => write!(out, "{text:?}"),
            Self::Bytes(bytes) => write!(out, "Bytes({} bytes)", bytes.len()),
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.write_display(out);
                }
                write!(out, "]")
            }
            Self::Object(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(name);
                    out.push_str(": ");
                    value.write_display(out);
                }
                write!(out, "}}")
            }
        };
    }
}

/// Convex's limits that nobody needs to lower.
const MAX_FIELDS: usize = 1024;
const MAX_DISPLAY: usize = 1000;

/// [`Value::size`] of an object.
pub fn object_size(fields: &Object) -> usize {
    2 + fields
        .iter()
        .map(|(name, value)| name.len() + 1 + value.size())
        .sum::<usize>()
}

/// The value at a dotted path (`author.name`), as indexes name their fields.
pub fn field_at<'a>(document: &'a Object, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let mut value = document.get(parts.next()?)?;
    for part in parts {
        let Value::Object(fields) = value else {
            return None;
        };
        value = fields.get(part)?;
    }
    Some(value)
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int64(a), Self::Int64(b)) => a.cmp(b),
            (Self::Float64(a), Self::Float64(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => a.cmp(b),
            (Self::Object(a), Self::Object(b)) => a.iter().cmp(b.iter()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

#[cfg(test)]
pub mod strategy {
    //! Values for property tests, with the awkward ones often.

    use super::Value;
    use proptest::prelude::*;

    pub fn value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<f64>(),
            Just(0.0),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            (-3i32..3).prop_map(f64::from),
            Just(9_007_199_254_740_993.0),
        ];
        let text = prop_oneof!["[ab\u{0}\u{1}\u{ff}é😀]{0,4}", ".{0,8}"];
        let scalar = prop_oneof![
            Just(Value::Null),
            prop_oneof![any::<i64>(), -2i64..2].prop_map(Value::Int64),
            number.prop_map(Value::Float64),
            any::<bool>().prop_map(Value::Boolean),
            text.prop_map(Value::String),
            prop::collection::vec(
                prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()],
                0..5
            )
            .prop_map(Value::Bytes),
        ];
        scalar.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[ab_]{1,2}", inner, 0..4).prop_map(Value::Object),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_sort_in_convexs_order() {
        let sorted = [
            Value::Null,
            Value::Int64(i64::MAX),
            Value::Float64(f64::NEG_INFINITY),
            Value::Float64(-0.0),
            Value::Float64(0.0),
            Value::Float64(f64::NAN),
            Value::Boolean(false),
            Value::Boolean(true),
            Value::String(String::new()),
            Value::Bytes(vec![]),
            Value::Array(vec![]),
            Value::Object(Object::new()),
        ];
        assert!(sorted.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_field_is_found_by_its_dotted_path() {
        let inner = Object::from([("name".to_string(), Value::Int64(1))]);
        let document = Object::from([("author".to_string(), Value::Object(inner))]);
        assert_eq!(field_at(&document, "author.name"), Some(&Value::Int64(1)));
        assert_eq!(field_at(&document, "author.name.first"), None);
        assert_eq!(field_at(&document, "missing"), None);
    }

    #[test]
    fn a_long_value_is_shortened_for_display() {
        let text = Value::String("é".repeat(5000)).display();
        assert!(text.len() < 1100 && text.ends_with('…'));
    }
}
