//! `ctx.db` as the host does it: one method per operation, each checked against the schema and the limits, each
//! noting what it has read and written. Selections of rows are in `queries`, `ctx.scheduler` in `schedule`.

mod queries;
mod schedule;

pub use queries::Selection;

use std::sync::Arc;

use super::config::Limits;
use super::id;
use super::key;
use super::range::Bounds;
use super::schema::{Schema, Table};
use super::store::{Store, Stored};
use super::transaction::{Kind, OpError, Transaction};
use super::value::{Object, Value, object_size};

/// The deepest nesting of a document; arguments and results may go deeper.
const DOCUMENT_NESTING: usize = 16;
/// The database as one call sees it.
pub struct Database<'a> {
    pub store: &'a mut Store,
    pub schema: &'a Schema,
    pub limits: &'a Limits,
    pub call: &'a mut Transaction,
}

type Result<T> = std::result::Result<T, OpError>;

impl Database<'_> {
    /// The JSON text of a document.
    pub fn get(&mut self, id: &str) -> Result<Option<String>> {
        let number = id::table_of(id)
            .map_err(|error| format!("Invalid argument `id` for `db.get`: {error}"))?;
        match self.schema.by_number(number).cloned() {
            Some(table) => Ok(self.read(&table, id)?.map(|stored| stored.text)),
            None => Ok(None),
        }
    }

    fn read(&mut self, table: &Table, id: &str) -> Result<Option<Stored>> {
        let from = super::schema::id_key(id);
        let bounds = Bounds {
            to: key::after_prefix(&from),
            from,
        };
        self.call.read_range(&table.by_id().full_name, &bounds)?;
        let stored = self.store.get(table, id)?;
        if let Some(stored) = &stored {
            self.call.read_document(stored.text.len())?;
        }
        Ok(stored)
    }

    /// The id, if it is one of the table.
    pub fn normalize_id(&self, table: &str, text: &str) -> Result<Option<String>> {
        let table = self.schema.table(table)?;
        Ok((id::table_of(text) == Ok(table.number)).then(|| text.to_string()))
    }

    pub fn insert(&mut self, table: &str, text: &str) -> Result<String> {
        self.writing("insert")?;
        let table = Arc::clone(self.schema.table(table)?);
        let mut document = parse_document(text, "insert")?;
        if let Some(field) = document.keys().find(|name| name.starts_with('_')) {
            return Err(OpError::Thrown(format!(
                "Field `{field}` cannot be given to `db.insert`: `_` is reserved"
            )));
        }
        let id = id::new(table.number, self.call.now_ms);
        document.insert("_id".into(), Value::String(id.clone()));
        let creation = self.store.next_creation(self.call.now_ms);
        document.insert("_creationTime".into(), Value::Float64(creation));
        self.check(&table, &document)?;
        for (index, key) in table
            .indexes
            .iter()
            .zip(self.store.insert(&table, &document)?)
        {
            self.call.wrote(&index.full_name, key);
        }
        Ok(id)
    }

    /// Sets and removes top-level fields.
    pub fn patch(&mut self, id: &str, set: &str, unset: &[String]) -> Result<()> {
        let (table, stored, old) = self.existing(id, "patch")?;
        let set = parse_document(set, "patch")?;
        let mut new = old.clone();
        for name in unset {
            check_system(name, None, &old)?;
            new.remove(name);
        }
        for (name, value) in set {
            check_system(&name, Some(&value), &old)?;
            new.insert(name, value);
        }
        self.update(&table, stored.seq, &old, &new)
    }

    pub fn replace(&mut self, id: &str, text: &str) -> Result<()> {
        let (table, stored, old) = self.existing(id, "replace")?;
        let mut new = parse_document(text, "replace")?;
        for (name, value) in &new {
            check_system(name, Some(value), &old)?;
        }
        for name in ["_id", "_creationTime"] {
            if let Some(value) = old.get(name) {
                new.insert(name.into(), value.clone());
            }
        }
        self.update(&table, stored.seq, &old, &new)
    }

    pub fn delete(&mut self, id: &str) -> Result<()> {
        let (table, stored, old) = self.existing(id, "delete")?;
        self.call.write_document(object_size(&old))?;
        for (index, key) in table
            .indexes
            .iter()
            .zip(self.store.delete(&table, stored.seq, &old)?)
        {
            self.call.wrote(&index.full_name, key);
        }
        Ok(())
    }

    fn update(&mut self, table: &Table, seq: i64, old: &Object, new: &Object) -> Result<()> {
        self.check(table, new)?;
        for (index, (before, after)) in table
            .indexes
            .iter()
            .zip(self.store.update(table, seq, old, new)?)
        {
            self.call.wrote(&index.full_name, before);
            self.call.wrote(&index.full_name, after);
        }
        Ok(())
    }

    fn existing(&mut self, id: &str, verb: &str) -> Result<(Arc<Table>, Stored, Object)> {
        self.writing(verb)?;
        let number = id::table_of(id)
            .map_err(|error| format!("Invalid argument `id` for `db.{verb}`: {error}"))?;
        let missing = || {
            OpError::Thrown(format!(
                "{} on nonexistent document ID {id:?}",
                capitalized(verb)
            ))
        };
        let table = Arc::clone(self.schema.by_number(number).ok_or_else(missing)?);
        let stored = self.read(&table, id)?.ok_or_else(missing)?;
        match Value::parse(&stored.text) {
            Ok(Value::Object(document)) => Ok((table, stored, document)),
            _ => Err(OpError::Fatal(format!(
                "the stored document {id:?} is damaged"
            ))),
        }
    }

    fn writing(&self, verb: &str) -> Result<()> {
        match self.call.kind {
            Kind::Mutation => Ok(()),
            Kind::Query => Err(OpError::Thrown(format!(
                "`db.{verb}` is not available in a query"
            ))),
        }
    }

    fn check(&mut self, table: &Table, document: &Object) -> Result<()> {
        let size = object_size(document);
        if size > self.limits.document_bytes {
            let limit = self.limits.document_bytes;
            return Err(OpError::Thrown(format!(
                "Value is too large ({size} bytes > maximum size {limit} bytes)"
            )));
        }
        let value = Value::Object(document.clone());
        value.check_shape(self.limits.array_elements, DOCUMENT_NESTING)?;
        if let Some(validator) = &table.validator {
            validator.check_document(document, self.schema).map_err(|mismatch| {
                format!(
                    "Failed to insert or update a document in table \"{}\" because it does not match the schema: \
                     {mismatch}",
                    table.name
                )
            })?;
        }
        self.call.write_document(size)
    }
}

fn parse_document(text: &str, verb: &str) -> Result<Object> {
    let value = Value::parse(text)
        .map_err(|error| format!("Invalid argument `value` for `db.{verb}`: {error}"))?;
    match value {
        Value::Object(document) => Ok(document),
        _ => Err(OpError::Thrown(format!(
            "Invalid argument `value` for `db.{verb}`: it must be an object"
        ))),
    }
}

/// System fields may be repeated, never changed.
fn check_system(name: &str, value: Option<&Value>, old: &Object) -> Result<()> {
    if name.starts_with('_') && value != old.get(name) {
        return Err(OpError::Thrown(format!(
            "Field `{name}` cannot be changed: fields starting with `_` are reserved"
        )));
    }
    Ok(())
}

fn capitalized(verb: &str) -> String {
    let (first, rest) = verb.split_at(1);
    first.to_uppercase() + rest
}
