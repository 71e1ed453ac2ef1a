//! Documents and their index entries. A document is one JSON text, system fields included, so that a read hands it
//! to a function without being parsed; each index has one entry per document, `by_id` too.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, params};

use super::{Result, Store};
use crate::engine::json::object_text;
use crate::engine::key::AFTER_ALL;
use crate::engine::schema::{Index, Table, id_key};
use crate::engine::value::{Object, Value};

/// A document as it is stored.
pub struct Stored {
    /// The store's own number of it, never shown.
    pub seq: i64,
    pub text: String,
}

impl Store {
    pub fn get(&self, table: &Table, id: &str) -> Result<Option<Stored>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT d.seq, d.body FROM entries e CROSS JOIN documents d ON d.seq = e.doc WHERE e.idx = ?1 AND e.key = ?2",
        )?;
        let found = statement
            .query_row(params![table.by_id().number, id_key(id)], |row| {
                Ok(Stored {
                    seq: row.get(0)?,
                    text: row.get(1)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    /// Visits the documents of a key range in order, until the visitor says `false`.
    pub fn scan<E: From<super::StorageError>>(
        &self,
        index: &Index,
        from: &[u8],
        to: Option<&[u8]>,
        descending: bool,
        mut visit: impl FnMut(&[u8], &str) -> std::result::Result<bool, E>,
    ) -> std::result::Result<(), E> {
        let sql = if descending {
            "SELECT e.key, d.body FROM entries e CROSS JOIN documents d ON d.seq = e.doc
             WHERE e.idx = ?1 AND e.key >= ?2 AND e.key < ?3 ORDER BY e.key DESC"
        } else {
            "SELECT e.key, d.body FROM entries e CROSS JOIN documents d ON d.seq = e.doc
             WHERE e.idx = ?1 AND e.key >= ?2 AND e.key < ?3 ORDER BY e.key"
        };
        let failed = super::StorageError::from;
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement
            .query(params![index.number, from, to.unwrap_or(AFTER_ALL)])
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (ValueRef::Blob(key), body) = (
                row.get_ref(0).map_err(failed)?,
                row.get_ref(1).map_err(failed)?,
            ) else {
                continue;
            };
            let text = body.as_str().map_err(|error| failed(error.into()))?;
            if !visit(key, text)? {
                break;
            }
        }
        Ok(())
    }

    /// Stores a new document (with its system fields) and returns its key in every index.
    pub fn insert(&self, table: &Table, document: &Object) -> Result<Vec<Vec<u8>>> {
        let body = object_text(document);
        self.connection
            .prepare_cached("INSERT INTO documents (body) VALUES (?1)")?
            .execute([&body])?;
        let seq = self.connection.last_insert_rowid();
        table
            .indexes
            .iter()
            .map(|index| {
                let key = index.key_of(document);
                self.add_entry(index, &key, seq)?;
                Ok(key)
            })
            .collect()
    }

    /// Replaces a document and returns its old and new key in every index.
    pub fn update(
        &self,
        table: &Table,
        seq: i64,
        old: &Object,
        new: &Object,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.connection
            .prepare_cached("UPDATE documents SET body = ?2 WHERE seq = ?1")?
            .execute(params![seq, object_text(new)])?;
        table
            .indexes
            .iter()
            .map(|index| {
                let (before, after) = (index.key_of(old), index.key_of(new));
                if before != after {
                    self.remove_entry(index, &before)?;
                    self.add_entry(index, &after, seq)?;
                }
                Ok((before, after))
            })
            .collect()
    }

    /// Removes a document and returns the key it had in every index.
    pub fn delete(&self, table: &Table, seq: i64, old: &Object) -> Result<Vec<Vec<u8>>> {
        self.connection
            .prepare_cached("DELETE FROM documents WHERE seq = ?1")?
            .execute([seq])?;
        table
            .indexes
            .iter()
            .map(|index| {
                let key = index.key_of(old);
                self.remove_entry(index, &key)?;
                Ok(key)
            })
            .collect()
    }

    pub(super) fn add_entry(&self, index: &Index, key: &[u8], seq: i64) -> Result<()> {
        self.connection
            .prepare_cached("INSERT INTO entries (idx, key, doc) VALUES (?1, ?2, ?3)")?
            .execute(params![index.number, key, seq])?;
        Ok(())
    }

    fn remove_entry(&self, index: &Index, key: &[u8]) -> Result<()> {
        let removed = self
            .connection
            .prepare_cached("DELETE FROM entries WHERE idx = ?1 AND key = ?2")?
            .execute(params![index.number, key])?;
        // Leaving a stale entry behind would make every later read of the index wrong.
        if removed == 1 {
            Ok(())
        } else {
            Err(rusqlite::Error::StatementChangedRows(removed).into())
        }
    }

    /// The creation time of the document that was stored last.
    pub(super) fn newest_creation(&self) -> Result<f64> {
        let body: Option<String> = self
            .connection
            .query_row(
                "SELECT body FROM documents ORDER BY seq DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()?;
        let creation = body.and_then(|body| match Value::parse(&body) {
            Ok(Value::Object(document)) => document.get("_creationTime").cloned(),
            _ => None,
        });
        Ok(match creation {
            Some(Value::Float64(time)) => time,
            _ => 0.0,
        })
    }
}
