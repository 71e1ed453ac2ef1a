//! The supervisor's side of a warden: start a child, read its lines, learn its end, stop it.
//!
//! A [`Ward`] holds the lifeline. Dropping it closes the lifeline without blocking, and the warden ends every descendant.
//! A background task reaps the warden, drains the pipes and keeps the journal; when a warden was killed without
//! a word, that task sweeps the session's marker itself as soon as it gets the session's lock.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::WARDEN_ARGUMENT;
use super::journal::{Entry, Journal};
use super::lease::{Lease, LeaseSpec};
use super::lines::{self, Ring};
use super::marker::{self, Marker};
use super::protocol::{Control, Report, Spec};
use super::sys;

/// Between TERM and KILL once a lifeline is lost.
const LOST_TERM_MS: u64 = 300;

/// How long the pipes may still deliver after the warden's end. All writers are dead then; the limit is for a process
/// that escaped on a system without subreapers.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Lines that wait for a listener; more are dropped.
const LINES_WAITING: usize = 256;

/// What to start, and under which rules.
#[derive(Clone, Debug)]
pub struct WardSpec {
    /// The binary that becomes the warden: [`super::own_binary`], or the built binary in tests.
    pub warden: PathBuf,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// The child's whole environment, apart from the marker and TMPDIR.
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub lease: LeaseSpec,
    pub marker: Option<Marker>,
    /// A folder of the session's own; every spawn gets a fresh TMPDIR in it, removed at its end.
    pub temporary: Option<PathBuf>,
    /// Where the child is written down, and under which session.
    pub journal: Option<(Journal, String)>,
    /// How many bytes of each of stdout and stderr to keep for [`Ward::captured`].
    pub capture_bytes: usize,
}

impl WardSpec {
    /// A child without lease, marker, journal and TMPDIR.
    pub fn new(
        warden: impl Into<PathBuf>,
        program: impl Into<PathBuf>,
        cwd: impl Into<PathBuf>,
    ) -> Self {
        Self {
            warden: warden.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            lease: LeaseSpec::default(),
            marker: None,
            temporary: None,
            journal: None,
            capture_bytes: 0,
        }
    }

    fn for_the_warden(&self) -> Spec {
        Spec {
            program: self.program.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            lease: self.lease.clone(),
            marker: self
                .marker
                .as_ref()
                .map(|marker| marker.as_str().to_owned()),
            temporary: self.temporary.clone(),
            lost_term_ms: LOST_TERM_MS,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Stdout,
    Stderr,
}

/// A line that the child printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub source: Source,
    pub text: String,
}

/// How a child ended. Everything that descended from it is gone, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitRecord {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The warden was killed before it could report. Its session has been swept.
    pub warden_lost: bool,
    pub last_lines: Vec<String>,
}

#[derive(Debug, Error)]
pub enum SpawnError {
    /// Somebody else holds the session's or the directory's lock. Trying again later can succeed.
    #[error("another process holds {}", .0.display())]
    Busy(PathBuf),
    /// No descriptors, processes or memory are left just now. Trying again later can succeed.
    #[error("{0}")]
    Exhausted(String),
    /// The child or its warden could not be started.
    #[error("{0}")]
    Failed(String),
}

/// A running child and all that descends from it.
#[derive(Debug)]
pub struct Ward {
    pid: u32,
    swept: usize,
    /// Dropping the sender closes the lifeline.
    control: mpsc::UnboundedSender<Control>,
    lines: Option<mpsc::Receiver<Line>>,
    ring: Ring,
    captured: Arc<Mutex<Captured>>,
    exit: watch::Receiver<Option<ExitRecord>>,
}

/// The first bytes of a child's output.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ward {
    /// Starts a warden and, through it, the child. Dropping the future ends what it had started.
    pub async fn spawn(spec: WardSpec) -> Result<Self, SpawnError> {
        let failed = |what: &str, error: io::Error| {
            let text = format!("{what}: {error}");
            if is_exhaustion(&error) {
                SpawnError::Exhausted(text)
            } else {
                SpawnError::Failed(text)
            }
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| failed("could not make a lifeline", error))?;
        ours.set_nonblocking(true)
            .map_err(|error| failed("could not make a lifeline", error))?;
        let lifeline = UnixStream::from_std(ours)
            .map_err(|error| failed("could not make a lifeline", error))?;

        let mut warden = {
            let mut command = std::process::Command::new(&spec.warden);
            command
                .arg0("orchestrator")
                .arg(WARDEN_ARGUMENT)
                .env_clear()
                .stdin(Stdio::from(OwnedFd::from(theirs)))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            // The command holds the warden's end of the lifeline until it is dropped.
            tokio::process::Command::from(command)
                .spawn()
                .map_err(|error| {
                    failed(
                        &format!("could not start the warden {}", spec.warden.display()),
                        error,
                    )
                })?
        };

        let ring = Ring::default();
        let captured = Arc::new(Mutex::new(Captured::default()));
        let (lines_to, lines) = mpsc::channel(LINES_WAITING);
        let mut drains = tokio::task::JoinSet::new();
        let drain = |source| Drain {
            source,
            ring: ring.clone(),
            captured: captured.clone(),
            capture_bytes: spec.capture_bytes,
            to: lines_to.clone(),
        };
        if let Some(stdout) = warden.stdout.take() {
            drains.spawn(drain(Source::Stdout).run(stdout));
        }
        if let Some(stderr) = warden.stderr.take() {
            drains.spawn(drain(Source::Stderr).run(stderr));
        }
        drop(lines_to);

        let (control, controls) = mpsc::unbounded_channel();
        let (exit_to, exit) = watch::channel(None);
        let (started_to, started) = oneshot::channel();
        let keeper = Keeper {
            line: serde_json::to_string(&spec.for_the_warden()).map_err(|error| {
                SpawnError::Failed(format!("could not describe the child: {error}"))
            })?,
            lease: spec.lease,
            marker: spec.marker,
            journal: spec.journal,
            ring: ring.clone(),
            entry: None,
        };
        tokio::spawn(async move {
            let record = keeper
                .keep(warden, lifeline, controls, started_to, drains)
                .await;
            exit_to.send_replace(Some(record));
        });

        match started.await {
            Ok(Ok((pid, swept))) => Ok(Self {
                pid,
                swept,
                control,
                lines: Some(lines),
                ring,
                captured,
                exit,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SpawnError::Failed(format!(
                "the warden ended before it started the child; its last words: {}",
                ring.lines().join(" / ")
            ))),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How many processes of a dead owner were ended before this child was started.
    pub fn swept(&self) -> usize {
        self.swept
    }

    /// The child's lines as they come. Can be taken once; they are drained whether or not somebody listens.
    pub fn take_lines(&mut self) -> Option<mpsc::Receiver<Line>> {
        self.lines.take()
    }

    pub fn last_lines(&self) -> Vec<String> {
        self.ring.lines()
    }

    pub fn captured(&self) -> Captured {
        self.captured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Resolves when the child, everything below it and the warden are gone and the lease is free.
    pub fn exited(&self) -> impl Future<Output = ExitRecord> + Send + 'static {
        let mut exit = self.exit.clone();
        async move {
            let record = exit.wait_for(Option::is_some).await;
            record
                .ok()
                .and_then(|record| record.clone())
                .unwrap_or_default()
        }
    }

    /// Asks the warden to end everything (TERM, then KILL after `term_ms`) and waits until it has. Idempotent.
    pub fn stop(&self, term_ms: u64) -> impl Future<Output = ExitRecord> + Send + 'static {
        let _ = self.control.send(Control::Stop { term_ms });
        self.exited()
    }
}

/// Reads one pipe to its end.
struct Drain {
    source: Source,
    ring: Ring,
    captured: Arc<Mutex<Captured>>,
    capture_bytes: usize,
    to: mpsc::Sender<Line>,
}

impl Drain {
    async fn run(self, from: impl tokio::io::AsyncRead + Unpin) {
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
            self.ring.push(&text);
            // A listener that does not keep up loses lines; the pipe is drained all the same.
            let _ = self.to.try_send(Line {
                source: self.source,
                text,
            });
        })
        .await;
    }
}

/// What outlives a dropped [`Ward`] until its warden is reaped.
struct Keeper {
    line: String,
    lease: LeaseSpec,
    marker: Option<Marker>,
    journal: Option<(Journal, String)>,
    ring: Ring,
    entry: Option<Entry>,
}

fn is_exhaustion(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    short
        .iter()
        .any(|one| error.raw_os_error() == Some(one.raw_os_error()))
}

type Started = oneshot::Sender<Result<(u32, usize), SpawnError>>;

impl Keeper {
    async fn keep(
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
                        Ok(Report::Busy { path }) => answer(&mut started, Err(SpawnError::Busy(path))),
                        Ok(Report::Failed { message }) => answer(&mut started, Err(SpawnError::Failed(message))),
                        Ok(Report::Exited { code, signal }) => record = Some((code, signal)),
                        Err(_) => {}
                    }
                }
                control = controls.recv(), if write.is_some() => match (control, &mut write) {
                    (Some(control), Some(write)) => {
                        if let Ok(text) = serde_json::to_string(&control) {
                            let _ = write.write_all(format!("{text}\n").as_bytes()).await;
                        }
                    }
                    // Nobody holds the ward any more: the end of this direction is the end of the lifeline.
                    _ => write = None,
                },
            }
        }
        let _ = warden.wait().await;
        let was_started = self.entry.is_some();
        let warden_lost = record.is_none() && was_started;
        if warden_lost {
            self.sweep().await;
        }
        let _ = tokio::time::timeout(LAST_WORDS, async {
            while drains.join_next().await.is_some() {}
        })
        .await;
        self.forget().await;
        let (code, signal) = record.unwrap_or_default();
        ExitRecord {
            code,
            signal,
            warden_lost,
            last_lines: self.ring.lines(),
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
                tracing::warn!(%error, pid, "could not write the child journal");
            }
        }
    }

    async fn forget(&mut self) {
        if let (Some((journal, _)), Some(entry)) = (self.journal.take(), self.entry.take()) {
            let _ = tokio::task::spawn_blocking(move || journal.forget(&entry)).await;
        }
    }

    /// Ends what a killed warden left. Without the lock somebody else has taken the session, and has swept.
    async fn sweep(&self) {
        let (lease, Some(marker)) = (self.lease.clone(), self.marker.clone()) else {
            return;
        };
        let swept = tokio::task::spawn_blocking(move || {
            let only_session = LeaseSpec {
                session: lease.session,
                directory: None,
            };
            Lease::try_take(&only_session).map(|_lease| marker::sweep(&marker))
        })
        .await;
        if let Ok(Ok(swept)) = swept {
            tracing::warn!(swept, "a warden was killed; its session is swept");
        }
    }
}

fn answer(to: &mut Option<Started>, answer: Result<(u32, usize), SpawnError>) {
    if let Some(to) = to.take() {
        let _ = to.send(answer);
    }
}
