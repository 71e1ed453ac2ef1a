//! Session records: the answer of each mutation by its client's own name for it, written in the mutation's own
//! transaction. A client that sends a mutation again after a lost connection gets the recorded answer.
//!
//! Records are kept 14 days, as Convex keeps them; old ones go a few at a time, so that no commit waits for it.

use rusqlite::{OptionalExtension as _, params};

use super::{Result, Store};
use crate::engine::api::SessionRequest;

const KEPT_NS: u64 = 14 * 24 * 3600 * 1_000_000_000;
const PRUNED_AT_ONCE: i64 = 64;

impl Store {
    /// The recorded result (JSON text) and the timestamp of its commit.
    pub fn record(&self, request: &SessionRequest) -> Result<Option<(String, u64)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT result, ts FROM records WHERE session = ?1 AND request = ?2")?;
        let found = statement
            .query_row(params![request.session_id, request.request_id], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
            })
            .optional()?;
        Ok(found)
    }

    /// Records a success, to be committed at `ts`.
    pub fn add_record(&self, request: &SessionRequest, ts: u64, result: &str) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO records (session, request, ts, result) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                request.session_id,
                request.request_id,
                ts.cast_signed(),
                result
            ])?;
        // Every 32nd record takes up to 64 old ones along: the table shrinks as fast as it grows.
        if self.connection.last_insert_rowid() % 32 == 0 {
            self.prune_records(ts)?;
        }
        Ok(())
    }

    fn prune_records(&self, now_ts: u64) -> Result<()> {
        // Rows are in the order of their timestamps: only the oldest need a look.
        self.connection
            .prepare_cached(
                "DELETE FROM records WHERE seq IN (SELECT seq FROM records ORDER BY seq LIMIT ?1) AND ts < ?2",
            )?
            .execute(params![PRUNED_AT_ONCE, now_ts.saturating_sub(KEPT_NS).cast_signed()])?;
        Ok(())
    }
}
