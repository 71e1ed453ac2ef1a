//! The supervisor's side of a warden: start a child, read its lines, learn its end, stop it.
//!
//! A [`Ward`] holds the lifeline. Dropping it closes the lifeline without blocking, and the warden ends every descendant.
//! Everything that has to go on after that is the [`Keeper`]'s.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::WARDEN_ARGUMENT;
use super::environment;
use super::journal::Journal;
use super::keeper::{Drain, Keeper, LOST_TERM_MS};
use super::lease::{Held, LeaseSpec};
use super::lines::Ring;
use super::marker::{Marker, WARDEN_VARIABLE};
use super::protocol::{Control, Spec, is_shortage};

/// A warden that has not started its child by then is ended. Generous: it may have to end what an earlier owner left.
const START: Duration = Duration::from_secs(30);

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
    /// What the child reads from its stdin, to its end; nothing by default.
    pub stdin: Option<String>,
    pub lease: LeaseSpec,
    /// By which all that descends from it is found when its warden is killed.
    pub marker: Marker,
    /// A folder of the session's own; every spawn gets a fresh TMPDIR in it, removed at its end.
    pub temporary: Option<PathBuf>,
    /// Where the child is written down, and under which session.
    pub journal: Option<(Journal, String)>,
    /// Its stdout is what it was asked for, a conversation: only its stderr is logged.
    pub answers_on_stdout: bool,
    /// How many bytes of each of stdout and stderr to keep for [`Ward::captured`].
    pub capture_bytes: usize,
    /// Between TERM and KILL when nobody wants it any more, or the supervisor has died.
    pub lost_term_ms: u64,
}

impl WardSpec {
    /// A child without lease, journal and TMPDIR, under a marker of its own.
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
            stdin: None,
            lease: LeaseSpec::default(),
            marker: Marker::of_its_own(),
            temporary: None,
            journal: None,
            answers_on_stdout: false,
            capture_bytes: 0,
            lost_term_ms: LOST_TERM_MS,
        }
    }

    fn for_the_warden(&self) -> Spec {
        Spec {
            program: self.program.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            stdin: self.stdin.clone(),
            lease: self.lease.clone(),
            marker: self.marker.as_str().to_owned(),
            temporary: self.temporary.clone(),
            journal: self
                .journal
                .as_ref()
                .map(|(journal, _)| journal.folder().to_owned()),
            lost_term_ms: self.lost_term_ms,
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
    /// What its end left running, because the system does not let us end it.
    pub given_up: Option<String>,
    /// Without the secrets of its environment.
    pub last_lines: Vec<String>,
}

#[derive(Debug, Error)]
pub enum SpawnError {
    /// Somebody else holds the session's or the directory's lock. Trying again later can succeed.
    #[error("another process holds {0}")]
    Busy(Held),
    /// The machine has too little of something (descriptors, memory, processes). Trying again later can succeed.
    #[error("{0}")]
    Shortage(String),
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

/// Somebody waits for a child to be started. Whoever does not any more has hung up by the time this is dropped, and not when
/// the keeper comes to it: a warden that has not started the child by then does not start it.
struct Waiting(Option<std::os::unix::net::UnixStream>);

impl Waiting {
    fn on(lifeline: std::os::unix::net::UnixStream) -> Self {
        Self(Some(lifeline))
    }

    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(lifeline) = &self.0 {
            let _ = lifeline.shutdown(std::net::Shutdown::Write);
        }
    }
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
            let message = format!("{what}: {error}");
            if is_shortage(&error) {
                SpawnError::Shortage(message)
            } else {
                SpawnError::Failed(message)
            }
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| failed("could not make a lifeline", error))?;
        ours.set_nonblocking(true)
            .map_err(|error| failed("could not make a lifeline", error))?;
        let waiting = ours
            .try_clone()
            .map(Waiting::on)
            .map_err(|error| failed("could not make a lifeline", error))?;
        let lifeline = UnixStream::from_std(ours)
            .map_err(|error| failed("could not make a lifeline", error))?;

        let mut warden = {
            let mut command = std::process::Command::new(&spec.warden);
            command
                .arg0("orchestrator")
                .arg(WARDEN_ARGUMENT)
                .env_clear()
                .env(WARDEN_VARIABLE, spec.marker.as_str())
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

        let ring = Ring::without(environment::secrets(&spec.env));
        let captured = Arc::new(Mutex::new(Captured::default()));
        let (lines_to, lines) = mpsc::channel(LINES_WAITING);
        let mut drains = tokio::task::JoinSet::new();
        let drain = |source| Drain {
            source,
            ring: ring.clone(),
            captured: captured.clone(),
            capture_bytes: spec.capture_bytes,
            to: lines_to.clone(),
            session: spec
                .journal
                .as_ref()
                .filter(|_| source == Source::Stderr || !spec.answers_on_stdout)
                .map(|(_, session)| session.clone()),
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
            lost_term_ms: spec.lost_term_ms,
            lease: spec.lease,
            marker: spec.marker,
            temporary: spec.temporary,
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

        match tokio::time::timeout(START, started).await {
            Ok(Ok(Ok((pid, swept)))) => {
                waiting.over();
                Ok(Self {
                    pid,
                    swept,
                    control,
                    lines: Some(lines),
                    ring,
                    captured,
                    exit,
                })
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(SpawnError::Failed(format!(
                "the warden ended before it started the child; its last words: {}",
                ring.lines().join(" / ")
            ))),
            Err(_) => Err(SpawnError::Failed(format!(
                "the warden did not start the child within {} s",
                START.as_secs()
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
