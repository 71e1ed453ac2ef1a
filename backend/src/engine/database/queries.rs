//! Reading a selection of rows, all at once or one by one. A query that stops early has read no further than its last
//! row, and its subscription is woken by nothing beyond.

use std::sync::Arc;

use super::{Database, Result};
use crate::engine::key;
use crate::engine::range::{Bounds, bounds};
use crate::engine::schema::{BY_CREATION_TIME, Table};
use crate::engine::transaction::{Cursor, OpError};

/// Which rows a query is about, as the database module sends it.
pub struct Selection<'a> {
    pub table: &'a str,
    /// Empty: by creation time.
    pub index: &'a str,
    pub range: &'a str,
    pub descending: bool,
}

impl Database<'_> {
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
