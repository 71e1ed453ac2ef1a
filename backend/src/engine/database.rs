//! `ctx.db` and `ctx.scheduler` as the host does them: one method per operation, each checked against the schema
//! and the limits, each noting what it has read and written.

use std::sync::Arc;

use super::config::Limits;
use super::id;
use super::json::object_text;
use super::key;
use super::range::{Bounds, bounds};
use super::schema::{BY_CREATION_TIME, Schema, Table};
use super::store::{Job, Store, Stored};
use super::transaction::{Cursor, Kind, OpError, Transaction};
use super::value::{Object, Value, object_size};

/// The deepest nesting of a document; arguments and results may go deeper.
const DOCUMENT_NESTING: usize = 16;
/// Convex refuses jobs more than five years away.
const MAX_DELAY_MS: u64 = 5 * 366 * 24 * 3600 * 1000;

/// The database as one call sees it.
pub struct Database<'a> {
    pub store: &'a mut Store,
    pub schema: &'a Schema,
    pub limits: &'a Limits,
    pub call: &'a mut Transaction,
}

/// Which rows a query is about, as the database module sends it.
pub struct Selection<'a> {
    pub table: &'a str,
    /// Empty: by creation time.
    pub index: &'a str,
    pub range: &'a str,
    pub descending: bool,
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

    /// The first `limit` rows of a selection, as the JSON text of an array.
    pub fn scan(&mut self, selection: &Selection, limit: usize) -> Result<String> {
        let (table, at, bounds) = self.select(selection)?;
        let mut out = String::from("[");
        if limit == 0 || bounds.is_empty() {
            out.push(']');
            return Ok(out);
        }
        let index = &table.indexes[at];
        let read = self.call.read_range(&index.full_name, &bounds)?;
        let mut found = 0;
        let mut last = None;
        let call = &mut *self.call;
        self.store.scan(
            index,
            &bounds.from,
            bounds.to.as_deref(),
            selection.descending,
            |key, text| {
                call.read_document(text.len())?;
                if found > 0 {
                    out.push(',');
                }
                out.push_str(text);
                found += 1;
                if found == limit {
                    last = Some(key.to_vec());
                }
                Ok::<_, OpError>(found < limit)
            },
        )?;
        // What lies beyond the last row that was asked for has not been looked at.
        if let Some(last) = last {
            self.call
                .narrow(read, up_to(&bounds, &last, selection.descending));
        }
        out.push(']');
        Ok(out)
    }

    /// Starts reading a selection row by row.
    pub fn open_cursor(&mut self, selection: &Selection) -> Result<usize> {
        let (table, index, bounds) = self.select(selection)?;
        let nothing = Bounds {
            from: bounds.from.clone(),
            to: Some(bounds.from.clone()),
        };
        let read = self
            .call
            .read_range(&table.indexes[index].full_name, &nothing)?;
        let (descending, done) = (selection.descending, bounds.is_empty());
        self.call.cursors.push(Cursor {
            table,
            index,
            bounds,
            descending,
            done,
            read,
        });
        Ok(self.call.cursors.len() - 1)
    }

    /// The next row of a cursor.
    pub fn next_row(&mut self, cursor: usize) -> Result<Option<String>> {
        let Some(mut state) = self.call.cursors.get(cursor).cloned() else {
            return Err(OpError::Thrown("the query is not open any more".into()));
        };
        let row = self.advance(&mut state);
        self.call.cursors[cursor] = state;
        row
    }

    fn advance(&mut self, cursor: &mut Cursor) -> Result<Option<String>> {
        if cursor.done {
            return Ok(None);
        }
        let index = &cursor.table.indexes[cursor.index];
        let mut row = None;
        let bounds = &cursor.bounds;
        self.store.scan(
            index,
            &bounds.from,
            bounds.to.as_deref(),
            cursor.descending,
            |key, text| {
                row = Some((key.to_vec(), text.to_string()));
                Ok::<_, OpError>(false)
            },
        )?;
        let Some((key, text)) = row else {
            cursor.done = true;
            self.call
                .extend(cursor.read, &cursor.bounds, cursor.descending);
            return Ok(None);
        };
        self.call.read_document(text.len())?;
        self.call.extend(
            cursor.read,
            &up_to(&cursor.bounds, &key, cursor.descending),
            cursor.descending,
        );
        if cursor.descending {
            cursor.bounds.to = Some(key);
        } else {
            cursor.bounds.from = key::after(&key);
        }
        Ok(Some(text))
    }

    fn select(&self, selection: &Selection) -> Result<(Arc<Table>, usize, Bounds)> {
        let table = Arc::clone(self.schema.table(selection.table)?);
        let name = if selection.index.is_empty() {
            BY_CREATION_TIME
        } else {
            selection.index
        };
        let number = table.index(name)?.number;
        let at = table
            .indexes
            .iter()
            .position(|index| index.number == number)
            .unwrap_or(0);
        let bounds = bounds(&table.indexes[at], selection.range)?;
        Ok((table, at, bounds))
    }

    /// Calls a function later; returns the job's id.
    pub fn schedule(&mut self, due_ms: f64, path: &str, args: &str) -> Result<String> {
        self.writing("schedule")?;
        let now = self.call.now_ms;
        if !due_ms.is_finite() {
            return Err(OpError::Thrown(
                "the time of a scheduled function must be a finite number".into(),
            ));
        }
        let due_ms = (due_ms.max(0.0) as u64).max(now);
        if due_ms > now + MAX_DELAY_MS {
            return Err(OpError::Thrown(
                "a function cannot be scheduled more than five years ahead".into(),
            ));
        }
        let Value::Object(args) = Value::parse(args)? else {
            return Err(OpError::Thrown(
                "the arguments of a scheduled function must be an object".into(),
            ));
        };
        if object_size(&args) > self.limits.value_bytes / 4 {
            return Err(OpError::Thrown(
                "the arguments of a scheduled function are too large".into(),
            ));
        }
        self.call.schedule()?;
        let id = id::new(id::SCHEDULED, now);
        self.store.add_job(&Job {
            id: id.clone(),
            due_ms,
            path: path.into(),
            args: object_text(&args),
        })?;
        Ok(id)
    }

    /// Forgets a job that has not run yet; one that has is left alone.
    pub fn cancel(&mut self, job: &str) -> Result<()> {
        self.writing("cancel")?;
        if id::table_of(job) != Ok(id::SCHEDULED) {
            return Err(OpError::Thrown(format!(
                "{job:?} is not the ID of a scheduled function"
            )));
        }
        self.call.jobs_changed = true;
        self.store.remove_job(job)?;
        Ok(())
    }
}

/// The part of the bounds that has been looked at when `key` was the last row.
fn up_to(bounds: &Bounds, key: &[u8], descending: bool) -> Bounds {
    if descending {
        Bounds {
            from: key.to_vec(),
            to: bounds.to.clone(),
        }
    } else {
        Bounds {
            from: bounds.from.clone(),
            to: Some(key::after(key)),
        }
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
