//! Scheduled functions that wait for their time. A job is removed in the transaction of its own writes, so it runs
//! exactly once; one that fails is removed and remembered among the last failures.

use rusqlite::{OptionalExtension as _, params};

use super::{Result, Store};

/// A function call to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: String,
    /// Milliseconds since the epoch.
    pub due_ms: u64,
    pub path: String,
    /// JSON text of the arguments object.
    pub args: String,
}

const FAILURES_KEPT: i64 = 1000;

impl Store {
    pub fn add_job(&self, job: &Job) -> Result<()> {
        self.connection
            .prepare_cached("INSERT INTO jobs (id, due, path, args) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                job.id,
                job.due_ms.cast_signed(),
                job.path,
                job.args
            ])?;
        Ok(())
    }

    /// Whether the job was still waiting.
    pub fn remove_job(&self, id: &str) -> Result<bool> {
        Ok(self
            .connection
            .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
            .execute([id])?
            > 0)
    }

    /// Those due by then, the earliest first.
    pub fn due_jobs(&self, now_ms: u64, limit: usize) -> Result<Vec<Job>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, due, path, args FROM jobs WHERE due <= ?1 ORDER BY due, seq LIMIT ?2",
        )?;
        let rows =
            statement.query_map(params![now_ms.cast_signed(), limit.cast_signed()], |row| {
                Ok(Job {
                    id: row.get(0)?,
                    due_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                    path: row.get(2)?,
                    args: row.get(3)?,
                })
            })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn next_due_ms(&self) -> Result<Option<u64>> {
        let due: Option<i64> = self
            .connection
            .prepare_cached("SELECT due FROM jobs ORDER BY due LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(due.map(i64::cast_unsigned))
    }

    pub fn add_job_failure(&self, job: &Job, now_ms: u64, error: &str) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO job_failures (id, path, args, at, error) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                job.id,
                job.path,
                job.args,
                now_ms.cast_signed(),
                error
            ])?;
        self.connection
            .prepare_cached("DELETE FROM job_failures WHERE seq <= ?1")?
            .execute([self.connection.last_insert_rowid() - FAILURES_KEPT])?;
        Ok(())
    }

    /// The latest failures: path and error, the newest first.
    pub fn job_failures(&self, limit: usize) -> Result<Vec<(String, String)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT path, error FROM job_failures ORDER BY seq DESC LIMIT ?1")?;
        let rows =
            statement.query_map([limit.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
