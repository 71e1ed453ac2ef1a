//! Validators of arguments, results and documents: their types and how they come out of a module (Convex's own
//! JSON form of them). [`check`] applies one, [`text`] writes one for people.

mod check;
mod mismatch;
mod text;

pub use check::Tables;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::Value;

/// One validator.
#[derive(Clone, Debug, PartialEq)]
pub enum Validator {
    Any,
    Null,
    Number,
    Int64,
    Boolean,
    String,
    Bytes,
    Literal(Value),
    /// An id of this table.
    Id(String),
    Array(Box<Validator>),
    Record(Box<Validator>, Box<Validator>),
    Object(Fields),
    Union(Vec<Validator>),
}

/// The fields of an object, by name.
pub type Fields = BTreeMap<String, Field>;

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub validator: Validator,
    pub optional: bool,
}

impl Validator {
    /// Reads Convex's JSON form.
    pub fn from_json(json: &Json) -> Result<Self, String> {
        let kind = json
            .get("type")
            .and_then(Json::as_str)
            .ok_or("a validator has no `type`")?;
        Ok(match kind {
            "any" => Self::Any,
            "null" => Self::Null,
            "number" => Self::Number,
            "bigint" => Self::Int64,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "literal" => Self::Literal(Value::from_json(part(json, "value")?)?),
            "id" => Self::Id(
                part(json, "tableName")?
                    .as_str()
                    .ok_or("an id's table is not a string")?
                    .to_string(),
            ),
            "array" => Self::Array(Box::new(Self::from_json(part(json, "value")?)?)),
            "record" => {
                let values = Field::from_json(part(json, "values")?)?;
                Self::Record(
                    Box::new(Self::from_json(part(json, "keys")?)?),
                    Box::new(values.validator),
                )
            }
            "object" => {
                let fields = part(json, "value")?
                    .as_object()
                    .ok_or("an object validator has no fields")?;
                let fields = fields
                    .iter()
                    .map(|(name, field)| Ok((name.clone(), Field::from_json(field)?)));
                Self::Object(fields.collect::<Result<_, String>>()?)
            }
            "union" => {
                let members = part(json, "value")?
                    .as_array()
                    .ok_or("a union validator has no members")?;
                Self::Union(
                    members
                        .iter()
                        .map(Self::from_json)
                        .collect::<Result<_, _>>()?,
                )
            }
            other => return Err(format!("validator type `{other}` is not known")),
        })
    }
}

impl Field {
    fn from_json(json: &Json) -> Result<Self, String> {
        Ok(Self {
            validator: Validator::from_json(part(json, "fieldType")?)?,
            optional: part(json, "optional")?.as_bool().unwrap_or(false),
        })
    }
}

fn part<'a>(json: &'a Json, name: &str) -> Result<&'a Json, String> {
    json.get(name)
        .ok_or_else(|| format!("a validator has no `{name}`"))
}
