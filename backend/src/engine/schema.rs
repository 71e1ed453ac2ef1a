//! The schema as the `schema` module declares it, and as the store numbers it.
//!
//! [`Declared`] is what the module says. [`Schema`] is the same with the numbers of tables and indexes that the
//! store gave out; it is what everything else uses. Every index ends in `_creationTime`, `_id`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::id::{SCHEDULED, TableNumber};
use super::key;
use super::validator::{Tables, Validator};
use super::value::{Object, Value, field_at};

pub const BY_ID: &str = "by_id";
pub const BY_CREATION_TIME: &str = "by_creation_time";

/// What `defineSchema` was given.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    pub tables: Vec<DeclaredTable>,
    pub validate: bool,
}

#[derive(Clone, Debug)]
pub struct DeclaredTable {
    pub name: String,
    pub indexes: Vec<(String, Vec<String>)>,
    pub validator: Option<Validator>,
    /// The validator's JSON text: when it has not changed, stored documents need no new look.
    pub validator_text: String,
}

impl Declared {
    /// Reads the JSON text of `schema.export()`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let tables = json["tables"].as_array().ok_or("it exports no tables")?;
        let tables = tables
            .iter()
            .map(DeclaredTable::parse)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            tables,
            validate: json["schemaValidation"].as_bool().unwrap_or(true),
        })
    }
}

impl DeclaredTable {
    fn parse(json: &Json) -> Result<Self, String> {
        let name = json["tableName"]
            .as_str()
            .ok_or("a table has no name")?
            .to_string();
        if !is_identifier(&name) || name.starts_with('_') {
            return Err(format!(
                "`{name}` is not a table name: letters, digits and _, not starting with _"
            ));
        }
        let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
        for index in json["indexes"].as_array().into_iter().flatten() {
            let index_name = index["indexDescriptor"]
                .as_str()
                .unwrap_or_default()
                .to_string();
            let fields: Vec<String> = index["fields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .map(String::from)
                .collect();
            let here = format!("index `{name}.{index_name}`");
            if !is_identifier(&index_name) || index_name.starts_with('_') {
                return Err(format!("{here}: not an index name"));
            }
            if index_name == BY_ID || index_name == BY_CREATION_TIME {
                return Err(format!("{here}: the name is reserved"));
            }
            if indexes.iter().any(|(known, _)| *known == index_name) {
                return Err(format!("{here} is declared twice"));
            }
            if fields.is_empty() || fields.len() > 16 {
                return Err(format!("{here}: an index has 1 to 16 fields"));
            }
            if let Some(field) = fields.iter().find(|field| field.starts_with('_')) {
                return Err(format!(
                    "{here}: `{field}` cannot be indexed (every index ends in _creationTime and _id)"
                ));
            }
            indexes.push((index_name, fields));
        }
        let (validator, validator_text) = match &json["documentType"] {
            Json::Null => (None, String::new()),
            document => {
                let validator = Validator::from_json(document)
                    .map_err(|error| format!("table `{name}`: {error}"))?;
                (Some(validator), document.to_string())
            }
        };
        Ok(Self {
            name,
            indexes,
            validator,
            validator_text,
        })
    }
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}

/// The schema in force.
#[derive(Debug, Default)]
pub struct Schema {
    tables: HashMap<String, Arc<Table>>,
    by_number: HashMap<TableNumber, Arc<Table>>,
}

#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub number: TableNumber,
    pub validator: Option<Validator>,
    /// `by_id` and `by_creation_time` first, then the declared ones.
    pub indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
pub struct Index {
    /// The store's number of it.
    pub number: i64,
    pub name: String,
    /// `table.index`, as read and write sets name it.
    pub full_name: Arc<str>,
    /// The declared fields, without the implicit end.
    pub fields: Vec<String>,
}

impl Schema {
    pub fn new(tables: Vec<Table>) -> Self {
        let tables: Vec<_> = tables.into_iter().map(Arc::new).collect();
        Self {
            by_number: tables
                .iter()
                .map(|table| (table.number, Arc::clone(table)))
                .collect(),
            tables: tables
                .into_iter()
                .map(|table| (table.name.clone(), table))
                .collect(),
        }
    }

    pub fn table(&self, name: &str) -> Result<&Arc<Table>, String> {
        self.tables.get(name).ok_or_else(|| {
            let hint = if name.starts_with('_') {
                "system tables are not supported"
            } else {
                "it is not in the schema"
            };
            format!("Table \"{name}\" does not exist: {hint}")
        })
    }

    pub fn by_number(&self, number: TableNumber) -> Option<&Arc<Table>> {
        self.by_number.get(&number)
    }
}

impl Tables for Schema {
    fn number_of(&self, table: &str) -> Option<TableNumber> {
        match table {
            "_scheduled_functions" => Some(SCHEDULED),
            name => self.tables.get(name).map(|table| table.number),
        }
    }
}

impl Table {
    pub fn index(&self, name: &str) -> Result<&Index, String> {
        self.indexes
            .iter()
            .find(|index| index.name == name)
            .ok_or_else(|| format!("Index \"{}.{name}\" not found", self.name))
    }

    pub fn by_id(&self) -> &Index {
        &self.indexes[0]
    }
}

impl Index {
    /// All fields of its key, the implicit end included.
    pub fn key_fields(&self) -> impl Iterator<Item = &str> {
        let implicit: &[&str] = if self.name == BY_ID {
            &["_id"]
        } else {
            &["_creationTime", "_id"]
        };
        self.fields
            .iter()
            .map(String::as_str)
            .chain(implicit.iter().copied())
    }

    /// A document's key in this index.
    pub fn key_of(&self, document: &Object) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        for field in self.key_fields() {
            key::push(&mut bytes, field_at(document, field));
        }
        bytes
    }
}

/// The `by_id` key of an id.
pub fn id_key(id: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(id.len() + 3);
    key::push_str(&mut bytes, id);
    bytes
}

/// The id that a stored document carries.
pub fn id_of(document: &Object) -> Option<&str> {
    match document.get("_id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(table: Json) -> Result<Declared, String> {
        Declared::parse(&json!({"tables": [table], "schemaValidation": true}).to_string())
    }

    #[test]
    fn bad_declarations_are_named() {
        let index = |name: &str, fields: Json| json!({"tableName": "t", "indexes": [{"indexDescriptor": name, "fields": fields}], "documentType": null});
        assert!(parse(index("by_a", json!(["a"]))).is_ok());
        for (declaration, says) in [
            (index("by_id", json!(["a"])), "reserved"),
            (index("by_a", json!([])), "1 to 16"),
            (index("by_a", json!(["_id"])), "_id"),
            (index("by a", json!(["a"])), "not an index name"),
            (
                json!({"tableName": "_t", "indexes": []}),
                "not a table name",
            ),
            (
                json!({"tableName": "t", "indexes": [], "documentType": {"type": "odd"}}),
                "odd",
            ),
        ] {
            let error = parse(declaration).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_key_ends_in_creation_time_and_id() {
        let index = |name: &str, fields: &[&str]| Index {
            number: 1,
            name: name.into(),
            full_name: "t.x".into(),
            fields: fields.iter().map(ToString::to_string).collect(),
        };
        let fields = |index: Index| index.key_fields().map(String::from).collect::<Vec<_>>();
        assert_eq!(fields(index("by_a", &["a"])), ["a", "_creationTime", "_id"]);
        assert_eq!(
            fields(index(BY_CREATION_TIME, &[])),
            ["_creationTime", "_id"]
        );
        assert_eq!(fields(index(BY_ID, &[])), ["_id"]);
    }
}
