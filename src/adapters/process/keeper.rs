//! What outlives a dropped [`Ward`](super::Ward) until its warden is reaped: a task that talks to the warden, drains the
//! pipes and keeps the journal.
//!
//! A warden can fail, too. One that does not end in time after it was told to is woken (somebody may have stopped it),
//! then killed; the kernel kills its child. After every warden that ended without a word the session is swept here, under
//! its lock. So a stop always comes to an end, unless the warden says why it does not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::journal::{Entry, Journal};
use super::lease::{Lease, LeaseSpec};
use super::lines::{self, Ring};
use super::marker::{self, Marker};
use super::protocol::{Control, Report, listed};
use super::sys;
use super::temporary;
use super::ward::{Captured, ExitRecord, Line, Source, SpawnError};
use crate::telemetry::ASSISTANT;

/// Between TERM and KILL once a lifeline is lost, unless the child needs longer.
pub(super) const LOST_TERM_MS: u64 = 300;

/// A warden that has neither ended nor said why so long after its child's grace is over is woken.
const OVERDUE: Duration = Duration::from_secs(4);

/// From there until it is killed.
const WOKEN: Duration = Duration::from_secs(1);

/// How long the pipes may still deliver after the warden's end. All writers are dead then; the limit is for a process
/// that escaped on a system without subreapers, or that was given up.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a killed warden left gets this long to die. Whoever takes the session's lock next sweeps again.
const SWEEP: Duration = Duration::from_secs(10);

/// Reads one pipe to its end.
pub(super) struct Drain {
    pub source: Source,
    pub ring: Ring,
    pub captured: Arc<Mutex<Captured>>,
    pub capture_bytes: usize,
    pub to: mpsc::Sender<Line>,
    /// Whose child it is, when what comes here is logged.
    pub session: Option<String>,
}

impl Drain {
    pub async fn run(self, from: impl tokio::io::AsyncRead + Unpin) {
        let keep = |bytes: &[u8]| {
            if self.capture_bytes == 0 {
                return;
            }
            let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
            let into = match self.source {
                Source::Stdout => &mut captured.stdout,
                Source::Stderr => &mut captured.stderr,
            };
            let room = self.capture_bytes.saturating_sub(into.len());
            into.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        lines::drain(from, keep, |text| {
            let kept = self.ring.push(&text);
            if let Some(session) = &self.session {
                info!(target: ASSISTANT, session, source = ?self.source, "{kept}");
            }
            // A listener that does not keep up loses lines; the pipe is drained all the same.
            let _ = self.to.try_send(Line {
                source: self.source,
                text,
            });
        })
        .await;
    }
}

pub(super) struct Keeper {
    pub lost_term_ms: u64,
    pub line: String,
    pub lease: LeaseSpec,
    pub marker: Marker,
    pub temporary: Option<PathBuf>,
    pub journal: Option<(Journal, String)>,
    pub ring: Ring,
    pub entry: Option<Entry>,
}

pub(super) type Started = oneshot::Sender<Result<(u32, usize), SpawnError>>;

/// How far the patience with a warden has gone.
#[derive(Clone, Copy)]
enum Due {
    /// Nobody wants it to end.
    Never,
    Wake(Instant),
    Kill(Instant),
}

impl Due {
    fn after(term_ms: u64) -> Self {
        Self::Wake(Instant::now() + Duration::from_millis(term_ms) + OVERDUE)
    }

    async fn come(self) {
        match self {
            Self::Never => std::future::pending().await,
            Self::Wake(at) | Self::Kill(at) => tokio::time::sleep_until(at).await,
        }
    }
}

impl Keeper {
    pub async fn keep(
        mut self,
        mut warden: tokio::process::Child,
        lifeline: UnixStream,
        mut controls: mpsc::UnboundedReceiver<Control>,
        started: Started,
        mut drains: tokio::task::JoinSet<()>,
    ) -> ExitRecord {
        let (read, mut write) = lifeline.into_split();
        let mut reports = BufReader::new(read).lines();
        let mut started = Some(started);
        let mut record = None;
        let mut given_up = None;
        let mut due = Due::Never;
        // It has said why it does not end: it is awake and tries, and killing it would not end them either.
        let mut explained = false;
        let first = format!("{}\n", self.line);
        // A failure shows as the end of the reports.
        let _ = write.write_all(first.as_bytes()).await;
        let mut write = Some(write);
        loop {
            tokio::select! {
                line = reports.next_line() => {
                    let Ok(Some(line)) = line else { break };
                    match serde_json::from_str(&line) {
                        Ok(Report::Started { pid, start_time, swept }) => {
                            self.record(pid, start_time).await;
                            answer(&mut started, Ok((pid, swept)));
                        }
                        Ok(Report::Busy(held)) => answer(&mut started, Err(SpawnError::Busy(held))),
                        Ok(Report::Failed { message, shortage: true }) => answer(&mut started, Err(SpawnError::Shortage(message))),
                        Ok(Report::Failed { message, .. }) => answer(&mut started, Err(SpawnError::Failed(message))),
                        Ok(Report::Stuck { left }) => {
                            (due, explained) = (Due::Never, true);
                            warn!(left = listed(&left), "processes of an assistant do not end; its session waits for them");
                        }
                        Ok(Report::GivenUp { left }) => {
                            warn!(left = listed(&left), "processes of an assistant run as another user and cannot be ended");
                            given_up = Some(listed(&left));
                        }
                        Ok(Report::Exited { code, signal }) => {
                            self.tell_free();
                            record = Some((code, signal));
                        }
                        Err(_) => {}
                    }
                }
                control = controls.recv(), if write.is_some() => {
                    // Nobody holds the ward any more: the end of this direction is the end of the lifeline.
                    let Control::Stop { term_ms } = control.unwrap_or(Control::Stop { term_ms: self.lost_term_ms });
                    if matches!(due, Due::Never) && !explained {
                        due = Due::after(term_ms);
                    }
                    match (&control, &mut write) {
                        (Some(control), Some(write)) => tell(write, control).await,
                        _ => write = None,
                    }
                }
                () = due.come() => due = self.hurry(&mut warden, due),
            }
        }
        let _ = warden.wait().await;
        let was_started = self.entry.is_some();
        let warden_lost = record.is_none() && was_started;
        let is_free = !warden_lost || self.sweep().await;
        let _ = tokio::time::timeout(LAST_WORDS, async {
            while drains.join_next().await.is_some() {}
        })
        .await;
        if is_free {
            self.forget().await;
        }
        let (code, signal) = record.unwrap_or_default();
        ExitRecord {
            code,
            signal,
            warden_lost,
            given_up,
            last_lines: self.ring.lines(),
        }
    }

    /// The warden is our child and not reaped yet, so its pid is its own.
    fn hurry(&self, warden: &mut tokio::process::Child, due: Due) -> Due {
        let session = self.journal.as_ref().map(|(_, session)| session.as_str());
        match due {
            Due::Wake(_) => {
                let pid = warden.id().and_then(|pid| i32::try_from(pid).ok());
                if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, Signal::CONT);
                }
                Due::Kill(Instant::now() + WOKEN)
            }
            Due::Kill(_) | Due::Never => {
                warn!(session, "a warden does not answer and is killed");
                let _ = warden.start_kill();
                Due::Never
            }
        }
    }

    /// With what `opencode is being started` says next of the session, the log shows how long it had nobody.
    fn tell_free(&self) {
        if let (Some((_, session)), Some(entry)) = (&self.journal, &self.entry) {
            info!(session, pid = entry.pid, "the session's lease is free");
        }
    }

    async fn record(&mut self, pid: u32, start_time: u64) {
        let (journal, session) = match &self.journal {
            Some((journal, session)) => (Some(journal.clone()), session.clone()),
            None => (None, String::new()),
        };
        let entry = Entry {
            pid,
            start_time,
            boot_id: sys::boot_id(),
            session,
        };
        self.entry = Some(entry.clone());
        if let Some(journal) = journal {
            let written = tokio::task::spawn_blocking(move || journal.record(&entry)).await;
            if let Ok(Err(error)) = written {
                // The marker and the lock still cover this child.
                warn!(%error, pid, "could not write the child journal");
            }
        }
    }

    async fn forget(&mut self) {
        if let (Some((journal, _)), Some(entry)) = (self.journal.take(), self.entry.take()) {
            let _ = tokio::task::spawn_blocking(move || journal.forget(&entry)).await;
        }
    }

    /// Ends what a killed warden left, files too, and says whether nothing of it is left. Without the lock somebody else has
    /// taken the session, and has swept.
    async fn sweep(&mut self) -> bool {
        let (lease, marker) = (self.lease.clone(), self.marker.clone());
        let folder = self.temporary.take();
        let swept = tokio::task::spawn_blocking(move || -> io::Result<marker::Swept> {
            let only_session = LeaseSpec {
                session: lease.session,
                directory: None,
            };
            let lease = Lease::try_take(&only_session).map_err(io::Error::other)?;
            let swept = marker::sweep(&marker, SWEEP);
            tidy_up(lease, folder.as_deref(), &swept);
            Ok(swept)
        })
        .await;
        let Ok(Ok(marker::Swept { hit, left })) = swept else {
            return true;
        };
        warn!(
            swept = hit,
            ?left,
            "a warden was killed; its session is swept"
        );
        left.is_empty()
    }
}

/// While somebody is left of the session its files stay: by them the next owner, or the next start, finds who it is.
fn tidy_up(lease: Lease, folder: Option<&Path>, swept: &marker::Swept) {
    if !swept.left.is_empty() {
        return;
    }
    if let Some(folder) = folder {
        temporary::remove(folder);
    }
    lease.give_back();
}

/// A failure shows as the end of the reports.
async fn tell(warden: &mut OwnedWriteHalf, control: &Control) {
    if let Ok(text) = serde_json::to_string(control) {
        let _ = warden.write_all(format!("{text}\n").as_bytes()).await;
    }
}

fn answer(to: &mut Option<Started>, answer: Result<(u32, usize), SpawnError>) {
    if let Some(to) = to.take() {
        let _ = to.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::lease::session_lock;
    use super::*;

    #[test]
    fn the_files_of_a_session_stay_while_a_process_of_it_cannot_be_ended() {
        let run = tempfile::tempdir().unwrap();
        let (lock, folder) = (
            session_lock(&run.path().join("locks"), "s"),
            run.path().join("tmp"),
        );
        std::fs::create_dir(&folder).unwrap();
        let spec = LeaseSpec {
            session: Some(lock.clone()),
            directory: None,
        };
        let left = |left: Vec<i32>| marker::Swept { hit: 1, left };
        tidy_up(
            Lease::try_take(&spec).unwrap(),
            Some(&folder),
            &left(vec![4711]),
        );
        assert!(lock.exists() && folder.exists());
        // Another test's child may have the descriptor, and with it the lock, until its exec.
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let lease = loop {
            match Lease::try_take(&spec) {
                Ok(lease) => break lease,
                Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
            }
            std::thread::yield_now();
        };
        tidy_up(lease, Some(&folder), &left(Vec::new()));
        assert!(!lock.exists() && !folder.exists());
    }
}
