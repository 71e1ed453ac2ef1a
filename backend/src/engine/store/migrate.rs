//! Brings the file to the declared schema: new tables and indexes are made and filled, indexes that are gone are
//! dropped, and when a validator has changed every stored document is held against the new one first. All of it
//! happens inside the opening transaction, so a refusal leaves the file as it was.
//!
//! The documents of a table that left the schema stay, unreachable, until the table is declared again.

use std::collections::HashMap;

use rusqlite::params;

use super::{Result, Store};
use crate::engine::error::{OpenError, StorageError};
use crate::engine::id::{FIRST_USER_TABLE, TableNumber};
use crate::engine::schema::{
    BY_CREATION_TIME, BY_ID, Declared, DeclaredTable, Index, Schema, Table,
};
use crate::engine::value::{Object, Value};

/// What the file knows of a table.
struct Known {
    number: TableNumber,
    validator: String,
}

impl Store {
    pub(super) fn migrate(&self, declared: &Declared) -> std::result::Result<Schema, OpenError> {
        let known = self.known_tables()?;
        let mut tables = Vec::new();
        let mut changed = Vec::new();
        for declaration in &declared.tables {
            let validator = if declared.validate {
                declaration.validator_text.as_str()
            } else {
                ""
            };
            let (number, same) = match known.get(&declaration.name) {
                Some(known) => (known.number, known.validator == validator),
                None => (self.add_table(&declaration.name)?, false),
            };
            if !same {
                self.connection
                    .execute(
                        "UPDATE tables SET validator = ?2 WHERE number = ?1",
                        params![number, validator],
                    )
                    .map_err(StorageError)?;
                changed.push(declaration.name.clone());
            }
            tables.push(self.migrate_table(declaration, number, declared.validate)?);
        }
        for (name, gone) in &known {
            if !declared.tables.iter().any(|table| table.name == *name) {
                self.drop_indexes(gone.number, &[])?;
                // Looked at again in full when the table comes back.
                self.connection
                    .execute(
                        "UPDATE tables SET validator = 'gone' WHERE number = ?1",
                        [gone.number],
                    )
                    .map_err(StorageError)?;
            }
        }
        let schema = Schema::new(tables);
        // Last, when every table has its number: a validator may name ids of any of them.
        for name in &changed {
            self.check_documents(&schema, name)?;
        }
        Ok(schema)
    }

    fn known_tables(&self) -> Result<HashMap<String, Known>> {
        let mut statement = self
            .connection
            .prepare("SELECT name, number, validator FROM tables")?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get(0)?,
                Known {
                    number: row.get(1)?,
                    validator: row.get(2)?,
                },
            ))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn add_table(&self, name: &str) -> Result<TableNumber> {
        let number = self.connection.query_row(
            "INSERT INTO tables (number, name, validator) SELECT coalesce(max(number) + 1, ?1), ?2, '' FROM tables
             RETURNING number",
            params![FIRST_USER_TABLE, name],
            |row| row.get(0),
        )?;
        Ok(number)
    }

    fn migrate_table(
        &self,
        declaration: &DeclaredTable,
        number: TableNumber,
        validate: bool,
    ) -> Result<Table> {
        let implicit = [BY_ID, BY_CREATION_TIME].map(|name| (name.to_string(), Vec::new()));
        let wanted: Vec<_> = implicit
            .into_iter()
            .chain(declaration.indexes.iter().cloned())
            .collect();
        self.drop_indexes(number, &wanted)?;
        let mut indexes: Vec<Index> = Vec::new();
        for (name, fields) in wanted {
            let full_name = format!("{}.{name}", declaration.name).into();
            let mut index = Index {
                number: 0,
                name,
                full_name,
                fields,
            };
            if let Some(known) = self.index_number(number, &index.name)? {
                index.number = known;
            } else {
                index.number = self.add_index(number, &index)?;
                if let Some(by_id) = indexes.first() {
                    self.fill_index(by_id, &index)?;
                }
            }
            indexes.push(index);
        }
        let validator = declaration.validator.clone().filter(|_| validate);
        Ok(Table {
            name: declaration.name.clone(),
            number,
            validator,
            indexes,
        })
    }

    fn index_number(&self, table: TableNumber, name: &str) -> Result<Option<i64>> {
        let mut statement = self
            .connection
            .prepare("SELECT number FROM indexes WHERE tbl = ?1 AND name = ?2")?;
        let mut rows = statement.query(params![table, name])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    fn add_index(&self, table: TableNumber, index: &Index) -> Result<i64> {
        let fields = index.fields.join(",");
        let number = self.connection.query_row(
            "INSERT INTO indexes (tbl, name, fields) VALUES (?1, ?2, ?3) RETURNING number",
            params![table, index.name, fields],
            |row| row.get(0),
        )?;
        Ok(number)
    }

    /// Drops a table's indexes that are not wanted, or not as they are. `by_id` and `by_creation_time` stay: they
    /// are how the documents are found again.
    fn drop_indexes(&self, table: TableNumber, wanted: &[(String, Vec<String>)]) -> Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT number, name, fields FROM indexes WHERE tbl = ?1")?;
        let rows =
            statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let known: Vec<(i64, String, String)> = rows.collect::<rusqlite::Result<_>>()?;
        for (number, name, fields) in known {
            let implicit = name == BY_ID || name == BY_CREATION_TIME;
            if implicit
                || wanted
                    .iter()
                    .any(|(known, wanted)| *known == name && wanted.join(",") == fields)
            {
                continue;
            }
            self.connection
                .execute("DELETE FROM entries WHERE idx = ?1", [number])?;
            self.connection
                .execute("DELETE FROM indexes WHERE number = ?1", [number])?;
        }
        Ok(())
    }

    fn fill_index(&self, by_id: &Index, index: &Index) -> Result<()> {
        let mut documents = self.connection.prepare(
            "SELECT d.seq, d.body FROM entries e CROSS JOIN documents d ON d.seq = e.doc WHERE e.idx = ?1",
        )?;
        let mut rows = documents.query([by_id.number])?;
        while let Some(row) = rows.next()? {
            let document = parse_stored(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
            self.add_entry(index, &index.key_of(&document), row.get(0)?)?;
        }
        Ok(())
    }

    fn check_documents(&self, schema: &Schema, name: &str) -> std::result::Result<(), OpenError> {
        let table = schema.table(name).map_err(OpenError::Schema)?;
        let Some(validator) = &table.validator else {
            return Ok(());
        };
        self.scan(table.by_id(), &[], None, false, |_, text| {
            let document = parse_stored(text)?;
            validator
                .check_document(&document, schema)
                .map_err(|mismatch| {
                    let id = crate::engine::schema::id_of(&document).unwrap_or("?");
                    OpenError::Violation(format!("document {id:?} in table {name:?}: {mismatch}"))
                })?;
            Ok::<_, OpenError>(true)
        })
    }
}

fn parse_stored(text: &str) -> Result<Object> {
    match Value::parse(text) {
        Ok(Value::Object(document)) => Ok(document),
        _ => Err(StorageError(rusqlite::Error::InvalidQuery)),
    }
}
