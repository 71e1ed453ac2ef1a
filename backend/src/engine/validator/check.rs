//! Applies a validator to a value. The first mismatch is reported with its path, in Convex's words, so that the
//! same mistake reads the same here and in the cloud.

use super::mismatch::{Mismatch, Problem, Step, render};
use super::{Fields, Validator};
use crate::engine::id::{self, TableNumber};
use crate::engine::value::{Object, Value};

/// Resolves a table's name: `v.id(table)` accepts ids of that table only.
pub trait Tables {
    fn number_of(&self, table: &str) -> Option<TableNumber>;
}

impl Validator {
    /// Checks a value; `path` is empty for the value itself.
    pub fn check(&self, value: &Value, tables: &dyn Tables) -> Result<(), Mismatch> {
        self.check_at(value, tables, &mut Vec::new())
    }

    /// Checks a document, whose system fields belong to the store and not to its validator.
    pub fn check_document(&self, document: &Object, tables: &dyn Tables) -> Result<(), Mismatch> {
        self.check_fields_of(document, tables, &mut Vec::new(), true)
    }

    fn check_at(
        &self,
        value: &Value,
        tables: &dyn Tables,
        path: &mut Vec<Step>,
    ) -> Result<(), Mismatch> {
        let fits = match (self, value) {
            (Self::Any, _)
            | (Self::Null, Value::Null)
            | (Self::Number, Value::Float64(_))
            | (Self::Int64, Value::Int64(_))
            | (Self::Boolean, Value::Boolean(_))
            | (Self::String, Value::String(_))
            | (Self::Bytes, Value::Bytes(_)) => true,
            (Self::Literal(expected), found) => expected == found,
            (Self::Id(table), Value::String(text)) => {
                return check_id(table, text, tables, path, self);
            }
            (Self::Array(element), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    path.push(Step::Element(at));
                    element.check_at(item, tables, path)?;
                    path.pop();
                }
                true
            }
            (Self::Record(keys, values), Value::Object(fields)) => {
                for (name, field) in fields {
                    path.push(Step::Field(name.clone()));
                    keys.check_at(&Value::String(name.clone()), tables, path)?;
                    values.check_at(field, tables, path)?;
                    path.pop();
                }
                true
            }
            (Self::Object(_), Value::Object(fields)) => {
                return self.check_fields_of(fields, tables, path, false);
            }
            (Self::Union(members), found) => {
                return check_union(members, found, tables, path, self);
            }
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(mismatch(path, value, self))
        }
    }

    fn check_fields_of(
        &self,
        object: &Object,
        tables: &dyn Tables,
        path: &mut Vec<Step>,
        document: bool,
    ) -> Result<(), Mismatch> {
        match self {
            Self::Object(fields) => check_fields(fields, object, tables, path, document, self),
            Self::Union(members) if document => {
                let failures: Vec<_> = members
                    .iter()
                    .map(|member| member.check_fields_of(object, tables, &mut path.clone(), true))
                    .collect();
                pick(failures)
                    .unwrap_or_else(|| Err(mismatch(path, &Value::Object(object.clone()), self)))
            }
            Self::Any => Ok(()),
            Self::Record(keys, values) => {
                for (name, field) in object
                    .iter()
                    .filter(|(name, _)| !(document && is_system(name)))
                {
                    path.push(Step::Field(name.clone()));
                    keys.check_at(&Value::String(name.clone()), tables, path)?;
                    values.check_at(field, tables, path)?;
                    path.pop();
                }
                Ok(())
            }
            other => Err(mismatch(path, &Value::Object(object.clone()), other)),
        }
    }
}

fn check_fields(
    fields: &Fields,
    object: &Object,
    tables: &dyn Tables,
    path: &mut Vec<Step>,
    document: bool,
    whole: &Validator,
) -> Result<(), Mismatch> {
    for (name, field) in fields {
        let Some(value) = object.get(name) else {
            if field.optional {
                continue;
            }
            let object = Value::Object(object.clone()).display();
            let problem = Problem::Missing {
                field: name.clone(),
                object,
                validator: whole.to_string(),
            };
            return Err(Mismatch {
                path: render(path),
                problem,
            });
        };
        path.push(Step::Field(name.clone()));
        field.validator.check_at(value, tables, path)?;
        path.pop();
    }
    let known = |name: &str| fields.contains_key(name) || document && is_system(name);
    match object.keys().find(|name| !known(name)) {
        None => Ok(()),
        Some(extra) => {
            let object = Value::Object(object.clone()).display();
            let problem = Problem::Extra {
                field: extra.clone(),
                object,
                validator: whole.to_string(),
            };
            Err(Mismatch {
                path: render(path),
                problem,
            })
        }
    }
}

fn check_id(
    table: &str,
    text: &str,
    tables: &dyn Tables,
    path: &[Step],
    whole: &Validator,
) -> Result<(), Mismatch> {
    match id::table_of(text) {
        Ok(number) if tables.number_of(table) == Some(number) => Ok(()),
        Ok(_) => {
            let problem = Problem::WrongTable {
                id: text.to_string(),
                table: table.to_string(),
            };
            Err(Mismatch {
                path: render(path),
                problem,
            })
        }
        Err(_) => Err(mismatch(path, &Value::String(text.to_string()), whole)),
    }
}

fn check_union(
    members: &[Validator],
    value: &Value,
    tables: &dyn Tables,
    path: &[Step],
    whole: &Validator,
) -> Result<(), Mismatch> {
    for member in members {
        if member.check_at(value, tables, &mut path.to_vec()).is_ok() {
            return Ok(());
        }
    }
    Err(mismatch(path, value, whole))
}

/// Success if any succeeded. With a single member its own failure says more than the union's.
fn pick(mut results: Vec<Result<(), Mismatch>>) -> Option<Result<(), Mismatch>> {
    if results.iter().any(Result::is_ok) {
        return Some(Ok(()));
    }
    if results.len() == 1 {
        results.pop()
    } else {
        None
    }
}

fn mismatch(path: &[Step], value: &Value, validator: &Validator) -> Mismatch {
    let problem = Problem::Value {
        value: value.display(),
        validator: validator.to_string(),
    };
    Mismatch {
        path: render(path),
        problem,
    }
}

pub fn is_system(field: &str) -> bool {
    field == "_id" || field == "_creationTime"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct OneTable;

    impl Tables for OneTable {
        fn number_of(&self, table: &str) -> Option<TableNumber> {
            (table == "notes").then_some(1001)
        }
    }

    fn check(validator: serde_json::Value, value: serde_json::Value) -> Result<(), String> {
        let validator = Validator::from_json(&validator).unwrap();
        validator
            .check(&Value::from_json(&value).unwrap(), &OneTable)
            .map_err(|mismatch| mismatch.to_string())
    }

    fn object(fields: serde_json::Value) -> serde_json::Value {
        json!({"type": "object", "value": fields})
    }

    fn field(kind: &str, optional: bool) -> serde_json::Value {
        json!({"fieldType": {"type": kind}, "optional": optional})
    }

    #[test]
    fn fields_are_required_unless_optional_and_nothing_is_extra() {
        let validator = object(json!({"a": field("string", false), "b": field("number", true)}));
        assert_eq!(check(validator.clone(), json!({"a": "x"})), Ok(()));
        let missing = check(validator.clone(), json!({"b": 1})).unwrap_err();
        assert!(
            missing.starts_with("Object is missing the required field `a`."),
            "{missing}"
        );
        assert!(
            missing.ends_with("Validator: v.object({a: v.string(), b: v.optional(v.float64())})"),
            "{missing}"
        );
        let extra = check(validator.clone(), json!({"a": "x", "c": 1})).unwrap_err();
        assert!(
            extra.starts_with("Object contains extra field `c`"),
            "{extra}"
        );
        let wrong = check(validator, json!({"a": 1})).unwrap_err();
        assert_eq!(
            wrong,
            "Value does not match validator.\nPath: .a\nValue: 1.0\nValidator: v.string()"
        );
    }

    #[test]
    fn ids_belong_to_their_table() {
        let validator = json!({"type": "id", "tableName": "notes"});
        assert_eq!(check(validator.clone(), json!(id::new(1001, 0))), Ok(()));
        assert!(
            check(validator.clone(), json!(id::new(1002, 0)))
                .unwrap_err()
                .contains("another table")
        );
        assert!(
            check(validator, json!("nonsense"))
                .unwrap_err()
                .contains("v.id(\"notes\")")
        );
    }

    #[test]
    fn paths_lead_into_arrays_records_and_unions() {
        let array = json!({"type": "array", "value": {"type": "number"}});
        assert!(
            check(array, json!([1, "x"]))
                .unwrap_err()
                .contains("Path: [1]")
        );
        let record = json!({"type": "record", "keys": {"type": "string"}, "values": field("boolean", false)});
        assert!(
            check(record, json!({"k": 1}))
                .unwrap_err()
                .contains("Path: .k")
        );
        let union = json!({"type": "union", "value": [{"type": "null"}, {"type": "literal", "value": "on"}]});
        assert_eq!(check(union.clone(), json!("on")), Ok(()));
        assert!(
            check(union, json!("off"))
                .unwrap_err()
                .contains("v.union(v.null(), v.literal(\"on\"))")
        );
    }

    #[test]
    fn int64_and_number_are_different() {
        assert!(check(json!({"type": "bigint"}), json!(1)).is_err());
        assert!(
            check(
                json!({"type": "number"}),
                json!({"$integer": "AQAAAAAAAAA="})
            )
            .is_err()
        );
    }
}
