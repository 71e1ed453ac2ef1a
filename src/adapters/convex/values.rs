//! JSON to Convex values and back. Every number is a Float64 on the wire: a Convex Int64 is a BigInt to the
//! functions, and `v.number()` refuses it. On the way back whole numbers become JSON integers again, so that
//! an index or an epoch reads as `u64`.

use std::collections::BTreeMap;

use convex::Value as Convex;
use serde_json::{Number, Value};

/// Whole numbers below this are exact in a Float64.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub fn to_convex(value: Value) -> Convex {
    match value {
        Value::Null => Convex::Null,
        Value::Bool(bool) => Convex::Boolean(bool),
        Value::Number(number) => Convex::Float64(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Convex::String(text),
        Value::Array(items) => Convex::Array(items.into_iter().map(to_convex).collect()),
        Value::Object(_) => Convex::Object(to_args(value).unwrap_or_default()),
    }
}

/// A function's arguments: one object. `None` for anything else.
pub fn to_args(value: Value) -> Option<BTreeMap<String, Convex>> {
    let Value::Object(fields) = value else {
        return None;
    };
    let fields = fields.into_iter();
    Some(fields.map(|(key, one)| (key, to_convex(one))).collect())
}

/// NaN and the infinities, which JSON does not have, become null; bytes an array of numbers.
pub fn to_json(value: &Convex) -> Value {
    match value {
        Convex::Null => Value::Null,
        Convex::Boolean(bool) => Value::Bool(*bool),
        Convex::Int64(number) => Value::from(*number),
        Convex::Float64(number) => number_to_json(*number),
        Convex::String(text) => Value::String(text.clone()),
        Convex::Bytes(bytes) => Value::from(bytes.clone()),
        Convex::Array(items) => items.iter().map(to_json).collect(),
        Convex::Object(fields) => {
            let fields = fields.iter();
            Value::Object(fields.map(|(k, v)| (k.clone(), to_json(v))).collect())
        }
    }
}

fn number_to_json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_number_is_a_float_on_the_wire() {
        let Convex::Object(fields) = to_convex(json!({"epoch": 3, "cost": 0.5})) else {
            panic!("not an object");
        };
        assert!(matches!(fields["epoch"], Convex::Float64(n) if n.to_bits() == 3f64.to_bits()));
        assert!(matches!(fields["cost"], Convex::Float64(_)));
    }

    #[test]
    fn an_index_reads_as_an_integer() {
        let json = to_json(&Convex::Float64(7.0));
        assert_eq!(json.as_u64(), Some(7));
        assert_eq!(to_json(&Convex::Float64(f64::NAN)), Value::Null);
        assert_eq!(to_json(&Convex::Float64(1e300)).as_f64(), Some(1e300));
    }

    #[test]
    fn dollar_keys_of_people_are_not_read_as_an_encoding() {
        let value = json!({"$integer": "not base64"});
        assert_eq!(to_json(&to_convex(value.clone())), value);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_000i64..1_000_000).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z$]{1,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_survives_the_way_there_and_back(value in any_json()) {
            prop_assert_eq!(to_json(&to_convex(value.clone())), value);
        }
    }
}
