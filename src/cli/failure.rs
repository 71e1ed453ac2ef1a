//! What a command fails with, and how that is shown: what happened, then what to do next, on stderr; with `--json` one
//! object on stdout instead. Mistakes in a configuration are shown in their source, secrets blotted out.

use std::fmt;
use std::io::ErrorKind;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NamedSource, SourceSpan};

use super::exit::Exit;
use crate::adapters::convex::ClientError;
use crate::adapters::identity::KeyError;
use crate::adapters::opencode::PINNED_VERSION;
use crate::config::{ConfigError, EditError, Problem, env};
use crate::control;
use crate::daemon::RunError;
use crate::daemon::enrol::EnrolError;
use crate::service::ServiceError;
use crate::ui::Ui;
use crate::ui::format::printable_lines;

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Shown before the message, as it is.
    detail: Detail,
}

#[derive(Debug, Default)]
enum Detail {
    #[default]
    None,
    Lines(Vec<String>),
    Problems(Box<Problems>),
    /// The message is complete by itself: no `error:` before it.
    Bare,
}

/// What is wrong with a configuration.
#[derive(Debug)]
struct Problems {
    /// Absent when somebody else has read the file: then there is nothing to point into.
    source_text: Option<String>,
    found: Vec<Problem>,
    /// What is odd besides; shown first.
    warnings: Vec<Problem>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            detail: Detail::None,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn lines(mut self, lines: Vec<String>) -> Self {
        self.detail = Detail::Lines(lines);
        self
    }

    /// Prints the message without `error:`, as the documents word it.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.detail = Detail::Bare;
        self
    }

    /// Nobody runs with this state folder.
    pub fn not_running(last: Option<&crate::daemon::DaemonFile>) -> Self {
        let failure = Self::new(Exit::NotRunning, "orchestrator is not running");
        let start = "start it: orchestrator run (or orchestrator run --local)";
        match last.map(|file| (file.pid, &file.exited)) {
            Some((_, Some(exited))) => failure.hint(format!(
                "the last one ended at {} ({}); {start}",
                exited.at, exited.reason
            )),
            Some((pid, None)) => {
                failure.hint(format!("the last one (pid {pid}) was killed; {start}"))
            }
            None => failure.hint(start),
        }
    }

    /// What others said may be in any of it; only a drawn problem has colours.
    pub fn show(&self, ui: Ui) {
        let say = |text: &str| ui.error(&printable_lines(text));
        match &self.detail {
            Detail::None => say(&format!("error: {}", self.message)),
            Detail::Bare => say(&self.message),
            Detail::Lines(lines) => {
                for line in lines {
                    say(line);
                }
                say(&format!("error: {}", self.message));
            }
            Detail::Problems(found) => {
                let Problems {
                    source_text,
                    found: problems,
                    warnings,
                } = &**found;
                for warning in warnings {
                    say(&warning_text(warning));
                }
                for problem in problems {
                    match (source_text, &problem.help) {
                        (Some(source), _) if problem.line > 0 => {
                            ui.error(render(problem, source, ui).trim_end());
                        }
                        (_, Some(help)) => say(&format!("{problem}; {help}")),
                        (_, None) => say(&problem.to_string()),
                    }
                }
                say(&format!("error: {}", self.message));
            }
        }
        if let Some(hint) = &self.hint {
            say(&format!("hint: {hint}"));
        }
    }

    pub fn show_json(&self, ui: Ui) {
        let (problems, warnings) = match &self.detail {
            Detail::Problems(found) => (found.found.as_slice(), found.warnings.as_slice()),
            _ => (&[][..], &[][..]),
        };
        let lines = match &self.detail {
            Detail::Lines(lines) => lines.as_slice(),
            _ => &[],
        };
        ui.json(&serde_json::json!({
            "schema": 1,
            "error": {
                "exit": self.exit.code(),
                "message": self.message,
                "hint": self.hint,
                "problems": problems,
                "warnings": warnings,
                "details": lines,
            },
        }));
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A warning as it is shown everywhere.
pub fn warning_text(warning: &Problem) -> String {
    match &warning.help {
        Some(help) => format!("warning: {warning}; {help}"),
        None => format!("warning: {warning}"),
    }
}

/// One problem in its source.
fn render(problem: &Problem, source: &str, ui: Ui) -> String {
    let theme = if ui.colors_on_stderr() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let shown = Shown {
        text: problem.to_string(),
        help: problem.help.clone(),
        source: NamedSource::new(&problem.file, source.to_owned()),
        span: (
            problem.span.0,
            problem.span.1.saturating_sub(problem.span.0),
        )
            .into(),
    };
    let mut text = String::new();
    let drawn = GraphicalReportHandler::new_themed(theme)
        .with_width(200)
        .render_report(&mut text, &shown);
    match drawn {
        Ok(()) => text,
        Err(_) => problem.to_string(),
    }
}

#[derive(Debug)]
struct Shown {
    text: String,
    help: Option<String>,
    source: NamedSource<String>,
    span: SourceSpan,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<_>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let label = miette::LabeledSpan::new_with_span(None, self.span);
        Some(Box::new(std::iter::once(label)))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let message = error.to_string();
        match error {
            ConfigError::Missing { .. } => Self::new(Exit::Config, message)
                .hint("orchestrator config template prints one to start from"),
            ConfigError::Unreadable { .. } => Self::new(Exit::Config, message)
                .hint("check that the file is yours and that it is text"),
            ConfigError::Invalid {
                path,
                source_text,
                problems,
                warnings,
            } => Self {
                exit: Exit::Config,
                message: format!(
                    "{} in {}",
                    crate::ui::format::plural(problems.len(), "problem"),
                    path.display()
                ),
                hint: Some("correct the file, then: orchestrator config check".to_owned()),
                detail: Detail::Problems(Box::new(Problems {
                    source_text: Some(source_text),
                    found: problems,
                    warnings,
                })),
            },
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Config(error) => error.into(),
            EditError::File(reason) => Self::failed(reason).hint("nothing was changed"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            // It is there, and says so with the socket's end.
            ClientError::Unreachable { url, reason } if reason.contains("cannot write to its disk") => {
                Self::new(Exit::Unreachable, format!("the deployment at {url} cannot write to its disk; nothing of this was kept"))
                    .hint("make room where it keeps its data (orchestrator ps and its log name the file), then try again")
            }
            ClientError::Unreachable { url, reason } if reason.contains("database is damaged") => {
                Self::new(Exit::Unreachable, format!("the deployment at {url} writes nothing any more: its database is damaged"))
                    .hint("stop it, move the file away and put a copy in its place (orchestrator status and doctor name the file)")
            }
            ClientError::Unreachable { .. } => Self::new(Exit::Unreachable, message)
                .hint("is it running? look at orchestrator status, or name another one with --url"),
            // The deployment's own words for it, which it shares with no other refusal.
            ClientError::Unauthorized { message: said } if said.contains("has the token's key") => {
                Self::new(Exit::Refused, message).hint(
                    "a key that was made or exchanged meanwhile is taken when an embedded deployment is started again, and \
                     when OWNER_JWKS of a Convex deployment is set (orchestrator owner init prints it); or this is another \
                     deployment's key (ORCHESTRATOR_OWNER_KEY names one)",
                )
            }
            ClientError::Unauthorized { .. } => Self::new(Exit::Refused, message)
                .hint("prove who you are: ORCHESTRATOR_OWNER_TOKEN, or the owner's key (orchestrator owner init)"),
            ClientError::Refused { code, .. } => Self::new(exit_for(&code), message),
            ClientError::Server(_) => Self::failed(message),
        }
    }
}

/// What a refusal of the deployment's functions means for the caller.
fn exit_for(code: &str) -> Exit {
    match code {
        "invalid" | "too_large" | "not_found" | "conflict" | "ended" => Exit::Usage,
        "queue_full" => Exit::Failed,
        _ => Exit::Refused,
    }
}

impl From<EnrolError> for Failure {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Client(error) => error.into(),
            EnrolError::Edit(error) => error.into(),
            EnrolError::Files(_) | EnrolError::Answer(_) => Self::failed(error.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::File { source, .. } if source.kind() == ErrorKind::NotFound => {
                Self::new(Exit::Refused, message).hint("make one with orchestrator owner init")
            }
            KeyError::File { verb: "read", path, .. } => Self::new(Exit::Refused, message).hint(format!(
                "make it yours to read (ls -l {}), or name another one with {}",
                path.display(),
                env::OWNER_KEY
            )),
            KeyError::Exposed { .. } => Self::new(Exit::Refused, message),
            KeyError::NotAFile(_) | KeyError::Malformed(_) => {
                Self::new(Exit::Refused, message).hint(format!(
                    "name the right file (--key of orchestrator owner, {}), or move this one away and make one with \
                     orchestrator owner init",
                    env::OWNER_KEY
                ))
            }
            KeyError::UnderWay(_) => Self::usage(message)
                .hint("end that first: orchestrator owner rotate --finish"),
            KeyError::NotUnderWay(_) => {
                Self::usage(message).hint("begin with orchestrator owner rotate")
            }
            KeyError::File { .. } | KeyError::Random => Self::failed(message),
        }
    }
}

impl From<control::ClientError> for Failure {
    fn from(error: control::ClientError) -> Self {
        let message = error.to_string();
        match error {
            control::ClientError::NotListening { .. } => Self::not_running(None),
            control::ClientError::Silent { .. } | control::ClientError::Broken { .. } => {
                Self::failed(message)
            }
            control::ClientError::Refused(refusal) => {
                let exit = match refusal.code.as_str() {
                    "config" => Exit::Config,
                    "invalid" | "unknown_actor" => Exit::Usage,
                    _ => Exit::Failed,
                };
                let mut failure = Self::new(exit, message);
                if !refusal.problems.is_empty() {
                    failure.detail = Detail::Problems(Box::new(Problems {
                        source_text: None,
                        found: refusal.problems,
                        warnings: Vec::new(),
                    }));
                }
                match refusal.hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        match error {
            RunError::AlreadyRunning(_) => Self::new(Exit::AlreadyRunning, message)
                .hint("look at it: orchestrator ps; stop it: orchestrator stop"),
            // A `deployment run`, or a supervisor with another state folder: no `stop` of ours reaches it.
            RunError::LocalInUse { holder, .. } => {
                let end = match holder {
                    Some(holder) if holder.pid != 0 => format!("end it (kill {})", holder.pid),
                    _ => "end the process that holds it".to_owned(),
                };
                Self::new(Exit::AlreadyRunning, message).hint(format!(
                    "{end}, or keep this one's data elsewhere: --data DIR of deployment run, XDG_DATA_HOME of run --local"
                ))
            }
            RunError::PortInUse { port } => Self::failed(message).hint(format!(
                "choose another one: --port {}, or --port 0 for any free one",
                port.saturating_add(1)
            )),
            RunError::AssistantMissing(_) => Self::new(Exit::ToolMissing, message).hint(format!(
                "orchestrator drives OpenCode {PINNED_VERSION} and later 1.18 versions; when none is named or found, \
                 it installs that one with npm"
            )),
            RunError::Unreachable { .. } => Self::new(Exit::Unreachable, message),
            RunError::Refused(_) => Self::new(Exit::Refused, message),
            // The lines themselves were printed when the start was told.
            RunError::NoWorker(_) => Self::failed(message).bare(),
            RunError::StateFolder(_) => Self::failed(message).hint(
                "make it usable, or choose another state folder with --state-dir or ORCHESTRATOR_STATE_DIR",
            ),
            RunError::WorkerEnded { .. } => Self::failed(message)
                .hint("development mode ends with its one worker; orchestrator run --dev starts again"),
            RunError::Setup(_) | RunError::TreeFailed => Self::failed(message),
        }
    }
}

impl From<crate::config::paths::PathsError> for Failure {
    fn from(error: crate::config::paths::PathsError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let message = error.to_string();
        match error {
            ServiceError::NotOurs { .. } => Self::new(Exit::Refused, message)
                .hint("look at it, then move it away, or take its place with --force"),
            ServiceError::Unusable { .. } | ServiceError::NoPath => Self::usage(message),
            ServiceError::File { .. } | ServiceError::Paths(_) => Self::failed(message),
        }
    }
}

impl From<crate::control::SocketError> for Failure {
    fn from(error: crate::control::SocketError) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_on_a_full_disk_is_not_asked_whether_it_runs() {
        let unreachable = |reason: &str| {
            let (url, reason) = ("http://127.0.0.1:1".to_owned(), reason.to_owned());
            Failure::from(ClientError::Unreachable { url, reason })
        };
        let full = unreachable("the deployment cannot write to its disk");
        assert_eq!(full.exit, Exit::Unreachable);
        assert!(full.hint.is_some_and(|hint| hint.starts_with("make room")));
        assert!(
            !full.message.contains("cannot be reached"),
            "{}",
            full.message
        );
        let damaged =
            unreachable("the deployment's database is damaged: it writes nothing any more");
        assert!(
            damaged.message.ends_with("its database is damaged"),
            "{}",
            damaged.message
        );
        assert!(damaged.hint.is_some_and(|hint| hint.contains("put a copy")));
        let away = unreachable("connection refused");
        assert!(
            away.hint
                .is_some_and(|hint| hint.starts_with("is it running?"))
        );
    }

    #[test]
    fn a_start_that_failed_leaves_the_exit_code_that_it_ends_with() {
        let errors = [
            RunError::AlreadyRunning(None),
            RunError::LocalInUse {
                folder: "/x".into(),
                holder: None,
            },
            RunError::PortInUse { port: 1 },
            RunError::AssistantMissing(String::new()),
            RunError::Unreachable {
                url: String::new(),
                reason: String::new(),
            },
            RunError::Refused(String::new()),
            RunError::NoWorker(Vec::new()),
            RunError::WorkerEnded {
                name: String::new(),
                reason: String::new(),
            },
            RunError::TreeFailed,
            RunError::StateFolder(String::new()),
            RunError::Setup(String::new()),
        ];
        for error in errors {
            let kept = error.exit_code();
            assert_eq!(Failure::from(error).exit.code(), kept);
        }
    }
}
