//! `ctx.scheduler`: jobs are rows of the same transaction, so they exist exactly when it commits.

use super::{Database, Result};
use crate::engine::id;
use crate::engine::json::object_text;
use crate::engine::store::Job;
use crate::engine::transaction::OpError;
use crate::engine::value::{Value, object_size};

/// Convex refuses jobs more than five years away.
const MAX_DELAY_MS: u64 = 5 * 366 * 24 * 3600 * 1000;

impl Database<'_> {
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
