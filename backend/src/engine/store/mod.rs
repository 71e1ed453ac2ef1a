//! The SQLite file: documents, index entries, session records, scheduled jobs and the clock of commits.
//!
//! One connection in exclusive locking mode, WAL, `synchronous=FULL`: a commit that was answered survives a power
//! loss, and a second process on the same file is refused. Nothing here knows JavaScript or validators of calls;
//! all changes happen inside a transaction that [`super::transaction`] begins and ends.

mod documents;
mod jobs;
mod layout;
mod migrate;
mod records;
mod sealed;

pub use documents::Stored;
pub use jobs::Job;
pub use records::{PRUNED_AT_ONCE, RECORDS_KEPT_MS};

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::config;
use super::error::{OpenError, StorageError};
use super::schema::{Declared, Schema};

/// Whoever holds the file holds it for as long as it runs: a predecessor that is just closing it is waited for, no more.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

/// The largest file that is looked at whole when it is opened, in bytes.
const CHECKED: u64 = 128 << 20;

/// The open file.
pub struct Store {
    connection: Connection,
    latest_ts: u64,
    last_creation: f64,
}

type Result<T> = std::result::Result<T, StorageError>;

impl Store {
    /// Opens or creates the file and brings it to the declared schema, in one transaction.
    pub fn open(
        place: &config::Store,
        declared: &Declared,
    ) -> std::result::Result<(Self, Schema), OpenError> {
        let path = place.path();
        let connection = connect(place, path)?;
        let mut store = Self {
            connection,
            latest_ts: 0,
            last_creation: 0.0,
        };
        let schema = store.prepare(path, declared)?;
        Ok((store, schema))
    }

    /// What is wrong with the file's pages, looked at whole. It takes 3 ms of a processor for each MiB, before anybody is
    /// answered: of a file larger than [`CHECKED`] damage is found by whoever meets it.
    pub fn damage(&self, place: &config::Store) -> Option<String> {
        let config::Store::File(path) = place else {
            return None;
        };
        if std::fs::metadata(path).is_ok_and(|file| file.len() > CHECKED) {
            return None;
        }
        let found = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match found {
            Ok(text) if text == "ok" => None,
            // The first line names the database, which is always the same one.
            Ok(text) => Some(text.lines().last().unwrap_or_default().to_owned()),
            Err(error) => StorageError(error)
                .is_damage()
                .then(|| "its pages do not fit together".to_owned()),
        }
    }

    fn prepare(
        &mut self,
        path: &Path,
        declared: &Declared,
    ) -> std::result::Result<Schema, OpenError> {
        let at = |error| explain(path, error);
        layout::configure(&self.connection).map_err(at)?;
        self.connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(at)?;
        let converted = layout::create_or_check(&self.connection, path)?;
        let schema = self.migrate(declared).map_err(|error| match error {
            OpenError::Storage(StorageError(error)) => explain(path, error),
            other => other,
        })?;
        self.latest_ts = layout::read_latest_ts(&self.connection).map_err(at)?;
        self.last_creation = self
            .newest_creation()
            .map_err(|error| explain(path, error.0))?;
        self.connection.execute_batch("COMMIT").map_err(at)?;
        if converted {
            self.checkpoint().map_err(|error| explain(path, error.0))?;
        }
        Ok(schema)
    }

    pub fn latest_ts(&self) -> u64 {
        self.latest_ts
    }

    /// A creation time for a new document: now, but always after every earlier one, so that rows sort as they
    /// were inserted.
    pub fn next_creation(&mut self, now_ms: u64) -> f64 {
        self.last_creation = (now_ms as f64).max(self.last_creation.next_up());
        self.last_creation
    }

    pub fn begin(&self) -> Result<()> {
        // A panic may have left one open; what it did is not wanted.
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.run("BEGIN IMMEDIATE")
    }

    /// The timestamp of a commit that would happen now: nanoseconds, after every earlier one.
    pub fn next_ts(&self, now_ns: u64) -> u64 {
        now_ns.max(self.latest_ts + 1)
    }

    /// Commits at a timestamp of [`Self::next_ts`]. On an error everything since [`Self::begin`] is gone.
    pub fn commit(&mut self, ts: u64) -> Result<()> {
        let committed = layout::write_latest_ts(&self.connection, ts)
            .map_err(StorageError)
            .and_then(|()| self.run("COMMIT"));
        if let Err(error) = committed {
            self.rollback()?;
            return Err(error);
        }
        self.latest_ts = ts;
        Ok(())
    }

    pub fn rollback(&self) -> Result<()> {
        // Some errors of SQLite (a full disk) have rolled back already.
        if self.connection.is_autocommit() {
            Ok(())
        } else {
            self.run("ROLLBACK")
        }
    }

    /// Inside a transaction: a part that can be undone alone.
    pub fn savepoint(&self) -> Result<()> {
        self.run("SAVEPOINT part")
    }

    pub fn end_savepoint(&self, keep: bool) -> Result<()> {
        if !keep {
            self.run("ROLLBACK TO part")?;
        }
        self.run("RELEASE part")
    }

    /// Moves the write-ahead log into the file and empties it.
    pub fn checkpoint(&self) -> Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Lets the disk run full.
    #[cfg(test)]
    pub fn limit_pages(&self, pages: u32) -> Result<()> {
        Ok(self.connection.query_row(
            &format!("PRAGMA max_page_count = {pages}"),
            [],
            |_| Ok(()),
        )?)
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

fn connect(place: &config::Store, path: &Path) -> std::result::Result<Connection, OpenError> {
    let connection = match place {
        config::Store::Memory => Connection::open_in_memory(),
        config::Store::File(path) => {
            create_private(path).map_err(|error| OpenError::Unreadable {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            layout::peek(path)?;
            Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
        }
    };
    connection
        .and_then(|connection| {
            connection.busy_timeout(LOCK_PATIENCE)?;
            Ok(connection)
        })
        .map_err(|error| explain(path, error))
}

/// Conversations and token hashes are nobody else's: the file is 0600 from the start, and SQLite gives its
/// companions the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// A failure while the file is opened, with its place.
pub(super) fn explain(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Corrupt {
            path,
            reason: error.to_string(),
        },
        _ => OpenError::Unreadable {
            path,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::SessionRequest;

    fn open(path: &Path) -> Store {
        Store::open(&config::Store::File(path.join("db")), &Declared::default())
            .unwrap()
            .0
    }

    #[test]
    fn commits_are_synced_to_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let setting = |name: &str| -> String {
            store
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(setting("journal_mode"), r#"Text("wal")"#);
        assert_eq!(setting("synchronous"), "Integer(2)");
        assert_eq!(setting("locking_mode"), r#"Text("exclusive")"#);
    }

    #[test]
    fn timestamps_and_creation_times_never_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.begin().unwrap();
        store.commit(store.next_ts(500)).unwrap();
        assert_eq!(
            (store.latest_ts(), store.next_ts(400), store.next_ts(600)),
            (500, 501, 600)
        );
        let (first, second) = (
            store.next_creation(1_700_000_000_000),
            store.next_creation(1_700_000_000_000),
        );
        assert!(second > first && second - first < 0.01);
        assert!(store.next_creation(5) > second);
    }

    #[test]
    fn a_transaction_that_a_panic_left_open_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let job = Job {
            id: "j".into(),
            due_ms: 1,
            path: "m:f".into(),
            args: "{}".into(),
        };
        store.begin().unwrap();
        store.add_job(&job).unwrap();
        store.begin().unwrap();
        assert_eq!(store.next_due_ms().unwrap(), None);
        store.commit(store.next_ts(1)).unwrap();
        assert_eq!(store.next_due_ms().unwrap(), None);
    }

    #[test]
    fn records_older_than_two_weeks_are_pruned_along_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let day = 24 * 3600 * 1_000_000_000;
        let request = |id| SessionRequest {
            session_id: "s".into(),
            request_id: id,
        };
        store.begin().unwrap();
        for id in 0..40 {
            store
                .add_record(&request(id), u64::from(id) * day + 1, "null")
                .unwrap();
        }
        store.commit(40 * day).unwrap();
        // The 32nd record was of day 31: what was older than day 17 went with it.
        assert!(store.record(&request(16)).unwrap().is_none());
        assert!(store.record(&request(17)).unwrap().is_some());
    }
}
