//! Logs: fields in spans, to a file a day in the state folder (14 are kept, each bounded) and to stderr by level. Secrets never get
//! here: tokens print as `secret_def4…`, and contents of messages are not logged at all.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Days of log files to keep.
const KEPT: usize = 14;

/// Lines that wait for the file's writer; what comes beyond is dropped. The queue is allocated whole and touched at once:
/// the crate's own 128,000 cost 5 MB.
const WAITING_LINES: usize = 4096;

/// Bytes that a day's file may grow by in one process. A fault that repeats for ever must not fill the disk.
const DAILY_BYTES: u64 = 64 * 1024 * 1024;

/// Keeps the log file's writer alive; what is buffered is written when it is dropped, so it lives as long as `main`.
#[must_use]
pub struct Logging {
    _file: Option<WorkerGuard>,
    /// Why there is no log file although one was wanted.
    pub trouble: Option<String>,
}

/// What goes where.
#[derive(Clone, Debug)]
pub struct Levels {
    /// A level or a filter (`info`, `orchestrator=debug,warn`) for the file.
    pub file: String,
    /// The same for stderr.
    pub stderr: String,
}

/// Starts logging for the supervisor. A log folder that cannot be written is no reason not to run: the caller says so.
pub fn start(folder: Option<&Path>, levels: &Levels, color: bool) -> Logging {
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(color && std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter(&levels.stderr, "warn"));
    let opened = folder.map(|folder| {
        Builder::new()
            .rotation(Rotation::DAILY)
            .filename_prefix("orchestrator")
            .filename_suffix("log")
            .max_log_files(KEPT)
            .build(folder)
    });
    let (writer, guard, trouble) = match opened {
        Some(Ok(appender)) => {
            let (writer, guard) = NonBlockingBuilder::default()
                .buffered_lines_limit(WAITING_LINES)
                .finish(Bounded::new(appender, DAILY_BYTES, today));
            (Some(writer), Some(guard), None)
        }
        Some(Err(error)) => (None, None, Some(error)),
        None => (None, None, None),
    };
    let file = writer.map(|writer| {
        tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(false)
            .with_filter(filter(&levels.file, "info"))
    });
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(stderr)
        .with(file)
        .try_init();
    Logging {
        _file: guard,
        trouble: trouble.map(|error| error.to_string()),
    }
}

/// A writer that says once a day that it is full, and then drops what comes until the next day (UTC, as the files).
struct Bounded<W> {
    to: W,
    limit: u64,
    today: fn() -> u64,
    day: u64,
    written: u64,
}

impl<W: Write> Bounded<W> {
    fn new(to: W, limit: u64, today: fn() -> u64) -> Self {
        Self {
            to,
            limit,
            today,
            day: today(),
            written: 0,
        }
    }
}

impl<W: Write> Write for Bounded<W> {
    /// A line at a time, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let today = (self.today)();
        if self.day != today {
            (self.day, self.written) = (today, 0);
        }
        let before = self.written;
        self.written = before.saturating_add(line.len() as u64);
        if self.written <= self.limit {
            self.to.write_all(line)?;
        } else if before <= self.limit {
            self.to.write_all(
                b"the log is full for today: nothing more is written until tomorrow\n",
            )?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / 86_400
}

/// Levels by target. Not `EnvFilter`: its filters by field bring an engine for regular expressions into every start.
fn filter(text: &str, fallback: &str) -> Targets {
    let parsed = text.parse().or_else(|_| fallback.parse());
    let targets: Targets = parsed.unwrap_or_default();
    // Convex's crate tells every mutation at `info`; who wants that names it: `convex=info`.
    let named = targets
        .iter()
        .any(|(target, _)| target.starts_with("convex"));
    let chatty = targets
        .default_level()
        .is_some_and(|level| level > LevelFilter::WARN);
    if chatty && !named {
        targets.with_target("convex", LevelFilter::WARN)
    } else {
        targets
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_log_that_floods_is_cut_for_the_day_and_says_so_once() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static DAY: AtomicU64 = AtomicU64::new(1);
        let mut log = Bounded::new(Vec::new(), 10, || DAY.load(Ordering::Relaxed));
        for line in ["12345\n", "678\n", "9\n", "9\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        DAY.store(2, Ordering::Relaxed);
        log.write_all(b"new\n").unwrap();
        assert_eq!(
            String::from_utf8(log.to).unwrap(),
            "12345\n678\nthe log is full for today: nothing more is written until tomorrow\nnew\n"
        );
    }

    #[test]
    fn a_filter_that_cannot_be_read_falls_back() {
        let enables = |text: &str, level: Level| {
            filter(text, "info").would_enable("orchestrator::daemon", &level)
        };
        assert!(enables("orchestrator=nonsense", Level::INFO));
        assert!(!enables("orchestrator=nonsense", Level::DEBUG));
        assert!(enables("debug", Level::DEBUG));
    }

    #[test]
    fn the_client_of_convex_is_quiet_unless_it_is_named() {
        let tells =
            |text: &str| filter(text, "info").would_enable("convex::base_client", &Level::INFO);
        assert!(!tells("info") && !tells("debug") && !tells("error"));
        assert!(tells("info,convex=info"));
        let warns =
            |text: &str| filter(text, "info").would_enable("convex::base_client", &Level::WARN);
        assert!(warns("info") && !warns("error"));
    }
}
