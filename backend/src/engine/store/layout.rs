//! The tables inside the file, and its settings. A file says that it is ours (`application_id`) and which layout it
//! has (`user_version`); anything else is refused before a byte is written, by us or by SQLite: [`peek`] reads the header
//! itself, because SQLite may change a file when it opens it, and switching to the write-ahead log does.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::{explain, records};
use crate::engine::error::OpenError;

/// "OrcD" in ASCII.
const APPLICATION: i64 = 0x4f72_6344;
/// 1: session records in clear.
const LAYOUT: i64 = 2;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE tables (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, validator TEXT NOT NULL);
    CREATE TABLE indexes (number INTEGER PRIMARY KEY AUTOINCREMENT, tbl INTEGER NOT NULL, name TEXT NOT NULL,
                          fields TEXT NOT NULL, UNIQUE (tbl, name));
    CREATE TABLE documents (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE entries (idx INTEGER NOT NULL, key BLOB NOT NULL, doc INTEGER NOT NULL,
                          PRIMARY KEY (idx, key)) WITHOUT ROWID;
    CREATE TABLE jobs (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, due INTEGER NOT NULL,
                       path TEXT NOT NULL, args TEXT NOT NULL);
    CREATE INDEX jobs_by_due ON jobs (due, seq);
    CREATE TABLE job_failures (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, path TEXT NOT NULL,
                               args TEXT NOT NULL, at INTEGER NOT NULL, error TEXT NOT NULL);
";

/// SQLite's header, and of the first page's own the kind and the number of cells.
const HEADER: usize = 105;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// A leaf of a table.
const LEAF: u8 = 13;

/// Refuses what is certainly not for us. What cannot be told (a file without a header, or ours, killed before its log was
/// moved into it) is left to [`create_or_check`].
pub fn peek(path: &Path) -> Result<(), OpenError> {
    let mut header = [0; HEADER];
    let whole = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    if whole.is_err() || !header.starts_with(MAGIC) {
        return Ok(());
    }
    let number = |at: usize| {
        i64::from(i32::from_be_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    let (layout, application) = (number(60), number(68));
    let without_tables = header[100] == LEAF && header[103..] == [0, 0];
    match application {
        APPLICATION => known(path, layout),
        0 if without_tables => Ok(()),
        _ => Err(of_another_program(path)),
    }
}

/// Exclusive before WAL: the write-ahead log's index then lives in memory and no other process can join.
pub fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // What is deleted is gone from the file, too.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // KiB of pages, half of SQLite's own: what falls out is in the system's cache, and this process is meant to be small.
    connection.pragma_update(None, "cache_size", -1000)?;
    connection.pragma_update(None, "foreign_keys", "OFF")
}

/// Inside the opening transaction. `true`: there was an older layout, and the log still holds pieces of it.
pub fn create_or_check(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let at = |error| explain(path, error);
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(at)
    };
    let (application, layout) = (number("application_id")?, number("user_version")?);
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(at)?;
    if objects == 0 && application == 0 {
        connection.execute_batch(TABLES).map_err(at)?;
        connection.execute_batch(records::TABLE).map_err(at)?;
        connection
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(at)?;
        return set_layout(connection).map(|()| false).map_err(at);
    }
    if application != APPLICATION {
        return Err(of_another_program(path));
    }
    known(path, layout)?;
    if layout == LAYOUT {
        return Ok(false);
    }
    records::seal_all(connection)
        .and_then(|()| set_layout(connection))
        .map(|()| true)
        .map_err(at)
}

fn of_another_program(path: &Path) -> OpenError {
    OpenError::Corrupt {
        path: path.into(),
        reason: "it is a SQLite file, but of another program".into(),
    }
}

fn known(path: &Path, layout: i64) -> Result<(), OpenError> {
    if (1..=LAYOUT).contains(&layout) {
        return Ok(());
    }
    Err(OpenError::TooNew {
        path: path.into(),
        found: layout,
        known: LAYOUT,
    })
}

fn set_layout(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "user_version", LAYOUT)
}

pub fn read_latest_ts(connection: &Connection) -> rusqlite::Result<u64> {
    let ts: Option<i64> = connection
        .query_row(
            "SELECT value FROM meta WHERE name = 'latest_ts'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(ts.map_or(0, i64::cast_unsigned))
}

pub fn write_latest_ts(connection: &Connection, ts: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('latest_ts', ?1)")?
        .execute([ts.cast_signed()])
        .map(drop)
}
