//! Session records: the answer of each mutation by its client's own name for it, written in the mutation's own
//! transaction. A client that sends a mutation again after a lost connection gets the recorded answer, and only that
//! client can: see [`super::sealed`].
//!
//! Records are kept 14 days, as Convex keeps them. Old ones go a few at a time along with new ones, so that no commit
//! waits for it, and by time where little is written.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::sealed::{Broken, Seal};
use super::{Result, Store};
use crate::engine::api::SessionRequest;

pub const RECORDS_KEPT_MS: u64 = 14 * 24 * 3600 * 1000;
const KEPT_NS: u64 = RECORDS_KEPT_MS * 1_000_000;
const PRUNED_ALONG: usize = 64;
pub const PRUNED_AT_ONCE: usize = 1000;

pub(super) const TABLE: &str = "
    CREATE TABLE records (seq INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, ts INTEGER NOT NULL,
                          result BLOB NOT NULL);
";

impl Store {
    /// The recorded result (JSON text) and the timestamp of its commit.
    pub fn record(&self, request: &SessionRequest) -> Result<Option<(String, u64)>> {
        let seal = Seal::of(request).map_err(unreadable)?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT result, ts FROM records WHERE name = ?1")?;
        let found: Option<(Vec<u8>, i64)> = statement
            .query_row([seal.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((sealed, ts)) = found else {
            return Ok(None);
        };
        let ts = ts.cast_unsigned();
        Ok(Some((seal.open(ts, sealed).map_err(unreadable)?, ts)))
    }

    /// Records a success, to be committed at `ts`.
    pub fn add_record(&self, request: &SessionRequest, ts: u64, result: &str) -> Result<()> {
        add(&self.connection, request, ts, result)?;
        // Every 32nd record takes up to 64 old ones along: the table shrinks as fast as it grows.
        if self.connection.last_insert_rowid() % 32 == 0 {
            self.delete_records(ts.saturating_sub(KEPT_NS), PRUNED_ALONG)?;
        }
        Ok(())
    }

    /// In a transaction of its own, which is no commit to anybody: nothing that a function reads has changed. How many
    /// went; [`PRUNED_AT_ONCE`] at most.
    pub fn prune_records(&mut self, now_ms: u64) -> Result<usize> {
        let before = now_ms.saturating_sub(RECORDS_KEPT_MS) * 1_000_000;
        self.begin()?;
        match self.delete_records(before, PRUNED_AT_ONCE) {
            Ok(gone) => self.commit(self.latest_ts()).map(|()| gone),
            Err(error) => self.rollback().and(Err(error)),
        }
    }

    /// When the oldest record was made (ms since the epoch).
    pub fn oldest_record_ms(&self) -> Result<Option<u64>> {
        let ts: Option<i64> = self
            .connection
            .prepare_cached("SELECT ts FROM records ORDER BY seq LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(ts.map(|ts| ts.cast_unsigned() / 1_000_000))
    }

    fn delete_records(&self, before_ts: u64, at_most: usize) -> Result<usize> {
        // Rows are in the order of their timestamps: only the oldest need a look.
        Ok(self
            .connection
            .prepare_cached(
                "DELETE FROM records WHERE seq IN (SELECT seq FROM records ORDER BY seq LIMIT ?1) AND ts < ?2",
            )?
            .execute(params![at_most.cast_signed(), before_ts.cast_signed()])?)
    }
}

/// From the layout that kept session ids and results as they are.
pub(super) fn seal_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("ALTER TABLE records RENAME TO open_records")?;
    connection.execute_batch(TABLE)?;
    let mut statement =
        connection.prepare("SELECT session, request, ts, result FROM open_records ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let request = SessionRequest {
            session_id: row.get(0)?,
            request_id: row.get(1)?,
        };
        let (ts, result): (i64, String) = (row.get(2)?, row.get(3)?);
        add(connection, &request, ts.cast_unsigned(), &result)?;
    }
    drop(rows);
    drop(statement);
    connection.execute_batch("DROP TABLE open_records")
}

fn add(
    connection: &Connection,
    request: &SessionRequest,
    ts: u64,
    result: &str,
) -> rusqlite::Result<()> {
    let unwritable = |error: Broken| rusqlite::Error::ToSqlConversionFailure(error.into());
    let seal = Seal::of(request).map_err(unwritable)?;
    let sealed = seal.seal(ts, result).map_err(unwritable)?;
    connection
        .prepare_cached("INSERT INTO records (name, ts, result) VALUES (?1, ?2, ?3)")?
        .execute(params![seal.name, ts.cast_signed(), sealed])
        .map(drop)
}

fn unreadable(error: Broken) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Blob;
    rusqlite::Error::FromSqlConversionFailure(0, kind, error.into())
}
