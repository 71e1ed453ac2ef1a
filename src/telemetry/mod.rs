//! Logs: fields, to stderr by level (`limited`) and to files in the state folder, one JSON object a line (`rolling`: five, each
//! bounded). What assistants print has files of its own. `reading` is how `orchestrator logs` goes through them.
//! Tokens print as `secret_def4…`. Of what assistants print, whoever logs it gives the cut line without their environment's
//! secrets, and nothing of an output that is a conversation (`adapters::process`); the supervisor's own lines have no contents of
//! messages.

mod limited;
pub mod reading;
mod rolling;

use std::io::IsTerminal;
use std::path::Path;

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use self::limited::Limited;
use self::rolling::{FILE_BYTES, Rolling};

/// Lines that wait for the file's writer; what comes beyond is dropped. The queue is allocated whole and touched at once:
/// the crate's own 128,000 cost 5 MB.
const WAITING_LINES: usize = 4096;

/// What children say is told under this target, and goes nowhere else.
pub const ASSISTANT: &str = "assistant_output";
/// The supervisor's own log, by the name of its file.
pub const SUPERVISOR: &str = "orchestrator";
/// What assistants print.
pub const ASSISTANTS: &str = "assistants";
/// Bytes of one file of that.
const ASSISTANTS_BYTES: u64 = 4 * 1024 * 1024;

/// Keeps the log file's writer alive; what is buffered is written when it is dropped, so it lives as long as `main`.
#[must_use]
pub struct Logging {
    _files: Vec<WorkerGuard>,
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
        .with_writer(Limited::new(std::io::stderr()))
        .with_ansi(color && std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter(&levels.stderr, "warn"));
    let mut guards = Vec::new();
    let mut trouble = None;
    let mut file = |name: &str, limit: u64, waiting: usize| {
        let log = match Rolling::open(folder?, name, limit) {
            Ok(log) => log,
            Err(error) => {
                trouble.get_or_insert(error);
                return None;
            }
        };
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(waiting)
            .finish(log);
        guards.push(guard);
        Some(writer)
    };
    let own = file(SUPERVISOR, FILE_BYTES, WAITING_LINES)
        .map(|writer| lines(writer).with_filter(filter(&levels.file, "info")));
    let printed = Targets::new().with_target(ASSISTANT, LevelFilter::TRACE);
    let said = file(ASSISTANTS, ASSISTANTS_BYTES, WAITING_LINES / 8)
        .map(|writer| lines(writer).with_filter(printed));
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(stderr)
        .with(own)
        .with(said)
        .try_init();
    Logging {
        _files: guards,
        trouble: trouble.map(|error| error.to_string()),
    }
}

/// One JSON object a line.
fn lines<S>(to: NonBlocking) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(to)
}

/// Whether a text is a level or a filter. A bare word that is no level would be taken for the name of a target, at every
/// level.
pub fn check_filter(text: &str) -> Result<String, String> {
    // An empty word is taken for `error` there.
    let is_level = |word: &str| {
        let word = word.trim();
        !word.is_empty() && word.parse::<LevelFilter>().is_ok()
    };
    let is_fine = text.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => !target.trim().is_empty() && is_level(level),
        None => is_level(part),
    });
    if is_fine && text.parse::<Targets>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("a level is one of error, warn, info, debug, trace, off; a filter has levels by target: orchestrator=debug,warn".to_owned())
}

/// Levels by target. Not `EnvFilter`: its filters by field bring an engine for regular expressions into every start.
fn filter(text: &str, fallback: &str) -> Targets {
    let parsed = text.parse().or_else(|_| fallback.parse());
    let targets: Targets = parsed.unwrap_or_default();
    let targets = targets.with_target(ASSISTANT, LevelFilter::OFF);
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
    fn a_word_that_is_no_level_is_no_target_either() {
        for text in [
            "info",
            "WARN",
            "off",
            "orchestrator=debug",
            "convex=info,trace, warn",
        ] {
            assert!(check_filter(text).is_ok(), "{text}");
        }
        for text in [
            "loud",
            "",
            "info,loud",
            "orchestrator=loud",
            "=info",
            "debug,",
        ] {
            assert!(check_filter(text).is_err(), "{text}");
        }
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
