//! Validators against a second reading of what they mean, which knows nothing of paths and error texts.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

use super::values;
use crate::engine::id::{self, TableNumber};
use crate::engine::validator::{Tables, Validator};
use crate::engine::value::{Value, strategy};

const NOTES: TableNumber = 1001;

struct OneTable;

impl Tables for OneTable {
    fn number_of(&self, table: &str) -> Option<TableNumber> {
        (table == "notes").then_some(NOTES)
    }
}

/// A validator in Convex's own form, over the names and values that `value` uses.
fn validator() -> impl Strategy<Value = Json> {
    let kind = select(vec![
        "any", "null", "number", "bigint", "boolean", "string", "bytes",
    ]);
    let leaf = prop_oneof![
        6 => kind.prop_map(|kind| json!({ "type": kind })),
        2 => strategy::value().prop_map(|value| json!({ "type": "literal", "value": value.to_json() })),
        1 => select(vec!["notes", "gone"]).prop_map(|table| json!({ "type": "id", "tableName": table })),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let field = (inner.clone(), any::<bool>()).prop_map(
            |(validator, optional)| json!({ "fieldType": validator, "optional": optional }),
        );
        let keys = select(vec![
            json!({ "type": "string" }),
            json!({ "type": "literal", "value": "a" }),
        ]);
        prop_oneof![
            inner
                .clone()
                .prop_map(|element| json!({ "type": "array", "value": element })),
            prop::collection::vec(inner, 0..3)
                .prop_map(|members| json!({ "type": "union", "value": members })),
            (keys, field.clone()).prop_map(
                |(keys, values)| json!({ "type": "record", "keys": keys, "values": values })
            ),
            prop::collection::btree_map("[ab_]{1,2}", field, 0..3)
                .prop_map(|fields| json!({ "type": "object", "value": fields })),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => strategy::value(),
        1 => (select(vec![NOTES, NOTES + 1]), any::<u32>())
            .prop_map(|(table, seq)| Value::String(id::new(table, u64::from(seq)))),
    ]
}

fn accepts(validator: &Validator, value: &Value) -> bool {
    match (validator, value) {
        (Validator::Any, _) => true,
        (Validator::Null, value) => matches!(value, Value::Null),
        (Validator::Number, value) => matches!(value, Value::Float64(_)),
        (Validator::Int64, value) => matches!(value, Value::Int64(_)),
        (Validator::Boolean, value) => matches!(value, Value::Boolean(_)),
        (Validator::String, value) => matches!(value, Value::String(_)),
        (Validator::Bytes, value) => matches!(value, Value::Bytes(_)),
        (Validator::Literal(literal), value) => literal == value,
        (Validator::Id(table), Value::String(text)) => {
            table == "notes" && id::table_of(text).ok() == Some(NOTES)
        }
        (Validator::Array(element), Value::Array(items)) => {
            items.iter().all(|item| accepts(element, item))
        }
        (Validator::Record(keys, values), Value::Object(fields)) => {
            fields.iter().all(|(name, field)| {
                accepts(keys, &Value::String(name.clone())) && accepts(values, field)
            })
        }
        (Validator::Object(known), Value::Object(fields)) => {
            fields.keys().all(|name| known.contains_key(name))
                && known.iter().all(|(name, field)| match fields.get(name) {
                    Some(value) => accepts(&field.validator, value),
                    None => field.optional,
                })
        }
        (Validator::Union(members), value) => members.iter().any(|member| accepts(member, value)),
        _ => false,
    }
}

/// The narrowest validator of a value.
fn exactly(value: &Value) -> Json {
    match value {
        Value::Array(items) => {
            let members: Vec<_> = items.iter().map(exactly).collect();
            json!({ "type": "array", "value": { "type": "union", "value": members } })
        }
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> = fields
                .iter()
                .map(|(name, field)| {
                    (
                        name.clone(),
                        json!({ "fieldType": exactly(field), "optional": false }),
                    )
                })
                .collect();
            json!({ "type": "object", "value": fields })
        }
        scalar => json!({ "type": "literal", "value": scalar.to_json() }),
    }
}

proptest! {
    #[test]
    fn fuzz_validators_accept_what_they_mean(validator in validator(), value in value()) {
        let validator = Validator::from_json(&validator).unwrap();
        let checked = validator.check(&value, &OneTable);
        prop_assert_eq!(checked.is_ok(), accepts(&validator, &value), "{} of {:?}", validator, value);
        if let Err(mismatch) = checked {
            prop_assert!(mismatch.to_string().contains("Validator: v."), "{}", mismatch);
        }
    }

    #[test]
    fn fuzz_validators_a_values_own_validator_accepts_it_as_a_document_too(value in value()) {
        let validator = Validator::from_json(&exactly(&value)).unwrap();
        prop_assert_eq!(validator.check(&value, &OneTable), Ok(()));
        if let Value::Object(mut document) = value {
            document.insert("_id".to_owned(), Value::String(id::new(NOTES, 1)));
            document.insert("_creationTime".to_owned(), Value::Float64(1.0));
            prop_assert_eq!(validator.check_document(&document, &OneTable), Ok(()));
            prop_assert!(validator.check(&Value::Object(document), &OneTable).is_err());
        }
    }

    #[test]
    fn fuzz_validators_what_is_none_says_so(mut json in validator(), other in values::json()) {
        if let Some(fields) = json.as_object_mut() {
            fields.insert("value".to_owned(), other);
        }
        if let Err(reason) = Validator::from_json(&json) {
            prop_assert!(!reason.is_empty());
        }
    }
}
