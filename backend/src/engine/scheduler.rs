//! Scheduled functions. Each runs exactly once: its job goes in the transaction of its writes. One that fails is
//! removed too, and its failure is recorded; nobody but its author could say whether to try again. When it is the disk
//! or the engine itself that fails, nothing was kept: the job stays and waits.
//!
//! Session records that are too old are forgotten by the same clock.

use tracing::{debug, warn};

use super::Engine;
use super::api::WriteSet;
use super::calls::{Ready, Together};
use super::error::StorageError;
use super::store::{Job, PRUNED_AT_ONCE, RECORDS_KEPT_MS, Store};
use super::transaction::Kind;
use super::value::Value;

/// Between two looks at the clients' own calls.
const JOBS_AT_ONCE: usize = 32;
/// When the disk or the engine fails: until the next try.
const RETRY_MS: u64 = 1000;
/// Between two looks for old session records: not one commit per record.
const PRUNE_EVERY_MS: u64 = 3600 * 1000;

impl Engine {
    pub(super) fn run_jobs(&mut self, now_ms: u64) -> Vec<WriteSet> {
        if self.next_due_ms.is_none_or(|due| due > now_ms) {
            return Vec::new();
        }
        let mut commits = Vec::new();
        let mut failed = None;
        match self.with_store(|store| store.due_jobs(now_ms, JOBS_AT_ONCE)) {
            Ok(jobs) => {
                for job in jobs {
                    match self.run_job(&job, now_ms) {
                        Ok(writes) => commits.extend(writes),
                        // A smaller one may still find room.
                        Err(error) => failed = Some(error),
                    }
                }
            }
            Err(error) => {
                self.trouble.failed(&error.to_string());
                failed = Some(error.to_string());
            }
        }
        self.refresh_due();
        if let Some(error) = failed {
            // The log has been told of it already.
            debug!(%error, "scheduled functions wait");
            self.next_due_ms = Some(now_ms + RETRY_MS);
        }
        commits.retain(|writes| !writes.is_empty());
        commits
    }

    /// The writes of a success. An error is the disk's or the engine's own, and the job is still there.
    fn run_job(&mut self, job: &Job, now_ms: u64) -> Result<Option<WriteSet>, String> {
        let problem = match self.ready_job(job, now_ms) {
            Ok(ready) => {
                let done = self.execute(ready, &Together::Job(job));
                match done.result {
                    Ok(_) => return Ok(Some(done.writes)),
                    Err(error) if done.storage_failed => return Err(error.message),
                    Err(error) if done.internal => {
                        warn!(path = %job.path, job = %job.id, error = %error.message, "a scheduled function could not be run: it is tried again");
                        return Err(error.message);
                    }
                    Err(error) => error.message,
                }
            }
            Err(problem) => problem,
        };
        let recorded = self
            .with_store(|store| record_failure(store, job, now_ms, &problem))
            .map_err(|error| error.to_string())?;
        if recorded {
            warn!(path = %job.path, job = %job.id, error = %problem, "a scheduled function failed");
        }
        Ok(None)
    }

    fn ready_job<'a>(&self, job: &'a Job, now_ms: u64) -> Result<Ready<'a>, String> {
        let function = self
            .host
            .function(&job.path)
            .filter(|function| function.kind == Kind::Mutation)
            .ok_or_else(|| format!("Could not find a mutation '{}' to run", job.path))?;
        let args = Value::parse(&job.args)?;
        self.check_args(&function, &args)?;
        Ok(Ready {
            path: &job.path,
            function,
            args,
            identity: None,
            now_ms,
        })
    }

    /// A session record was made. The first one starts the clock.
    pub(super) fn recorded(&mut self, made_ms: u64) {
        self.next_prune_ms.get_or_insert(prune_at(made_ms));
    }

    pub(super) fn prune_records(&mut self, now_ms: u64) {
        if self.next_prune_ms.is_none_or(|due| due > now_ms) {
            return;
        }
        let pruned = self.with_store(|store| {
            let gone = store.prune_records(now_ms)?;
            Ok((gone, store.oldest_record_ms()?))
        });
        self.next_prune_ms = match pruned {
            Ok((PRUNED_AT_ONCE.., _)) => Some(now_ms),
            Ok((_, oldest)) => oldest.map(|made| prune_at(made).max(now_ms + PRUNE_EVERY_MS)),
            Err(error) => {
                warn!(%error, "old session records cannot be forgotten");
                Some(now_ms + PRUNE_EVERY_MS)
            }
        };
    }

    /// Looks up again when the next job is due.
    pub(super) fn refresh_due(&mut self) {
        match self.with_store(|store| store.next_due_ms()) {
            Ok(due) => self.next_due_ms = due,
            Err(error) => warn!(%error, "cannot look up scheduled functions"),
        }
    }
}

/// When a record of that time is too old.
pub(super) fn prune_at(made_ms: u64) -> u64 {
    made_ms + RECORDS_KEPT_MS
}

/// `false`: the job had been cancelled, so there is no failure.
fn record_failure(
    store: &mut Store,
    job: &Job,
    now_ms: u64,
    problem: &str,
) -> Result<bool, StorageError> {
    store.begin()?;
    let recorded = store.remove_job(&job.id).and_then(|waiting| {
        if waiting {
            store.add_job_failure(job, now_ms, problem)?;
        }
        Ok(waiting)
    });
    match recorded {
        Ok(true) => {
            let ts = store.next_ts(super::now_ns());
            store.commit(ts).map(|()| true)
        }
        Ok(false) => store.rollback().map(|()| false),
        Err(error) => store.rollback().and(Err(error)),
    }
}
