//! Development mode's configuration: one worker, out of `.env` in the current directory and the environment, which
//! wins. The names are those of the documents; each may be written with `ORCHESTRATOR_` before it, too.
//!
//! A `MACHINE_TOKEN` of two parts serves nothing by itself: [`Dev`] carries it as it is, for whoever enrols with it.

use std::path::Path;
use std::sync::Arc;

use orchestrator_actors::domain::policy::Policy;
use orchestrator_actors::domain::token::{TOKEN_FORMAT_HELP, Token};
use orchestrator_actors::domain::turn::OnInterrupt;

use super::dotenv::DotEnv;
use super::load::{Loaded, exposed_warning, file_name};
use super::notify::Notify;
use super::origin::{Origin, Origins};
use super::paths::is_exposed;
use super::permissions::DEFAULT_ANSWER_TIMEOUT_MS;
use super::place::{Base, inspect};
use super::problem::{ConfigError, Problem};
use super::time::{Millis, parse_millis};
use super::url::{UrlRule, deployment_url};
use super::workers::{
    DEFAULT_IDLE_TIMEOUT_MS, DEFAULT_MAX_SESSIONS, WorkerEntry, WorkersConfig, name_of,
};

pub const WORKER_TOKEN: &str = "WORKER_TOKEN";
pub const MACHINE_TOKEN: &str = "MACHINE_TOKEN";
pub const CONVEX_URL: &str = "CONVEX_URL";
pub const ROOT_DIRECTORY: &str = "ROOT_DIRECTORY";
pub const IDLE_TIMEOUT: &str = "IDLE_TIMEOUT";

/// What the start has to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    pub token: bool,
    pub url: bool,
}

/// The file and the environment, together.
pub struct Dev {
    file: Option<DotEnv>,
    path: std::path::PathBuf,
    environment: fn(&str) -> Option<String>,
    /// `--url`.
    url: Option<String>,
}

/// A value and where it came from.
struct Setting {
    name: &'static str,
    value: String,
    origin: Origin,
    span: (usize, usize),
    place: (usize, usize),
}

impl Dev {
    pub fn read(path: &Path, environment: fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        Ok(Self {
            file: DotEnv::read(path)?,
            path: path.to_owned(),
            environment,
            url: None,
        })
    }

    /// The file by itself, for who takes its worker elsewhere. `None` when there is none.
    pub fn of_file(path: &Path) -> Result<Option<Self>, ConfigError> {
        let dev = Self::read(path, |_| None)?;
        Ok(dev.file.is_some().then_some(dev))
    }

    /// The deployment, whatever file and environment say.
    pub fn with_url(mut self, url: Option<String>) -> Self {
        self.url = url;
        self
    }

    pub fn lacking(&self) -> Lacking {
        Lacking {
            token: self.token_setting().is_none(),
            url: self.setting(CONVEX_URL).is_none(),
        }
    }

    /// The worker to serve; every mistake at once.
    pub fn loaded(&self, base: &Base, rule: UrlRule) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let token = self.token(&mut problems);
        let url = match self.setting(CONVEX_URL) {
            None => {
                problems.push(self.missing(CONVEX_URL, "Convex URL is required"));
                None
            }
            Some(setting) => match deployment_url(&setting.value, rule) {
                Ok(url) => Some(url),
                Err(message) => {
                    problems.push(self.problem(&setting, message));
                    None
                }
            },
        };
        let mut origins = Origins::default();
        let mut idle_timeout_ms = DEFAULT_IDLE_TIMEOUT_MS;
        match self.idle_timeout() {
            Ok(None) => {}
            Ok(Some(time)) => {
                idle_timeout_ms = time;
                let setting = self.setting(IDLE_TIMEOUT);
                origins.idle_timeout = setting.map(|one| one.origin).unwrap_or_default();
            }
            Err(problem) => problems.push(*problem),
        }
        let (Some(token), Some(url), true) = (token, url, problems.is_empty()) else {
            return Err(ConfigError::Invalid {
                path: self.path.clone(),
                source_text: self.file.as_ref().map(DotEnv::shown).unwrap_or_default(),
                problems,
                warnings: Vec::new(),
            });
        };
        let root = self.setting(ROOT_DIRECTORY);
        origins.directory = root
            .as_ref()
            .map(|root| root.origin.clone())
            .unwrap_or_default();
        let given = root.map_or_else(|| ".".to_owned(), |root| root.value);
        let expanded = base.expand(&given);
        let (directory, broken) = match inspect(&given, &expanded) {
            Ok(directory) => (directory, None),
            Err(reason) => (expanded, Some(reason)),
        };
        let entry = WorkerEntry {
            name: name_of(&directory),
            token: Arc::new(token),
            directory,
            url,
            idle_timeout_ms,
            max_sessions: DEFAULT_MAX_SESSIONS,
            on_interrupt: OnInterrupt::default(),
            tasks: Arc::default(),
            notify: Notify::default(),
            permissions: Policy::ASK,
            answer_timeout_ms: DEFAULT_ANSWER_TIMEOUT_MS,
            broken,
        };
        let mut warnings = Vec::new();
        if is_exposed(&self.path) {
            warnings.push(exposed_warning(&self.path));
        }
        Ok(Loaded {
            config: WorkersConfig {
                workers: vec![entry],
                origins: vec![origins],
                ..WorkersConfig::default()
            },
            warnings,
            notes: Vec::new(),
        })
    }

    /// A setting as it was given.
    pub fn value(&self, name: &'static str) -> Option<String> {
        self.setting(name).map(|setting| setting.value)
    }

    /// When one is given.
    pub fn idle_timeout(&self) -> Result<Option<Millis>, Box<Problem>> {
        let Some(setting) = self.setting(IDLE_TIMEOUT) else {
            return Ok(None);
        };
        parse_millis(&setting.value)
            .map(Some)
            .map_err(|message| Box::new(self.problem(&setting, message)))
    }

    /// The credential as it was given: a worker's, or a machine's to enrol with.
    pub fn credential(&self) -> Option<Token> {
        Token::parse(&self.token_setting()?.value).ok()
    }

    fn token(
        &self,
        problems: &mut Vec<Problem>,
    ) -> Option<orchestrator_actors::domain::token::WorkerToken> {
        let Some(setting) = self.token_setting() else {
            problems.push(self.missing(WORKER_TOKEN, "Worker token is required"));
            return None;
        };
        match Token::parse(&setting.value) {
            Ok(Token::Worker(token)) => return Some(token),
            Ok(Token::Machine(_)) => problems.push(self.problem(
                &setting,
                "this is a machine's token: it enrols a machine and serves no directory; one directory needs a WORKER_TOKEN",
            )),
            Err(_) => problems.push(self.problem(&setting, TOKEN_FORMAT_HELP)),
        }
        None
    }

    fn token_setting(&self) -> Option<Setting> {
        self.setting(WORKER_TOKEN)
            .or_else(|| self.setting(MACHINE_TOKEN))
    }

    fn setting(&self, name: &'static str) -> Option<Setting> {
        if let Some(url) = self.url.clone().filter(|_| name == CONVEX_URL) {
            return Some(Setting {
                name,
                value: url,
                origin: Origin::Flag("--url"),
                span: (0, 0),
                place: (0, 0),
            });
        }
        let alias = format!("ORCHESTRATOR_{name}");
        for known in [alias.as_str(), name] {
            if let Some(value) = (self.environment)(known) {
                return Some(Setting {
                    name,
                    value: value.trim().to_owned(),
                    origin: Origin::Environment(known.to_owned()),
                    span: (0, 0),
                    place: (0, 0),
                });
            }
        }
        let file = self.file.as_ref()?;
        for known in [alias.as_str(), name] {
            if let Some(value) = file.get(known) {
                let span = file.place(known);
                let place = file.line_and_column(span.start);
                return Some(Setting {
                    name,
                    value: value.to_owned(),
                    origin: Origin::file(&self.file_name(), place.0),
                    span: (span.start, span.end),
                    place,
                });
            }
        }
        None
    }

    fn problem(&self, setting: &Setting, message: impl Into<String>) -> Problem {
        let file = match &setting.origin {
            Origin::Environment(_) => "environment".to_owned(),
            Origin::Flag(flag) => (*flag).to_owned(),
            _ => self.file_name(),
        };
        Problem {
            path: setting.name.to_owned(),
            message: message.into(),
            help: None,
            file,
            line: setting.place.0,
            column: setting.place.1,
            span: setting.span,
        }
    }

    fn missing(&self, name: &str, message: &str) -> Problem {
        Problem {
            path: name.to_owned(),
            message: message.to_owned(),
            help: None,
            file: self.file_name(),
            line: 0,
            column: 0,
            span: (0, 0),
        }
    }

    fn file_name(&self) -> String {
        file_name(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "machine_abc123:worker_xyz789:secret_def456ghi789jkl012";

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn read(text: &str, environment: fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shop")).unwrap();
        super::super::dotenv::save(&folder.path().join(".env"), &[]).unwrap();
        let path = folder.path().join(".env");
        super::super::paths::write_private(&path, text.as_bytes()).unwrap();
        let base = Base {
            home: folder.path().to_owned(),
            current: folder.path().to_owned(),
        };
        Dev::read(&path, environment)?.loaded(&base, UrlRule::default())
    }

    fn problems(text: &str) -> Vec<String> {
        match read(text, nothing) {
            Err(ConfigError::Invalid { problems, .. }) => {
                problems.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_existing_env_of_either_document_works_unchanged() {
        let text =
            format!("WORKER_TOKEN={TOKEN}\nCONVEX_URL=https://your-deployment.convex.cloud\n");
        let loaded = read(&text, nothing).unwrap();
        let worker = &loaded.config.workers[0];
        assert_eq!(worker.idle_timeout_ms, 300_000);
        assert!(worker.broken.is_none() && loaded.warnings.is_empty());
        let text = format!(
            "CONVEX_URL=https://a.convex.cloud\nMACHINE_TOKEN=\nWORKER_TOKEN={TOKEN}\nROOT_DIRECTORY=./shop\nIDLE_TIMEOUT=1500\n"
        );
        let worker = read(&text, nothing).unwrap().config.workers.remove(0);
        assert_eq!(
            (worker.name.as_str(), worker.idle_timeout_ms),
            ("shop", 1_500)
        );
    }

    #[test]
    fn the_template_is_a_dotenv_that_lacks_token_and_url() {
        let text = include_str!("../../config-templates/.env");
        for name in [WORKER_TOKEN, MACHINE_TOKEN, CONVEX_URL, ROOT_DIRECTORY] {
            assert!(text.contains(&format!("\n{name}=\n")), "{name}");
        }
        assert!(text.contains("\nIDLE_TIMEOUT=300000\n"));
        assert_eq!(problems(text).len(), 2);
        let filled = text
            .replace("WORKER_TOKEN=\n", &format!("WORKER_TOKEN={TOKEN}\n"))
            .replace("CONVEX_URL=\n", "CONVEX_URL=https://a.convex.cloud\n");
        assert_eq!(read(&filled, nothing).unwrap().config.workers.len(), 1);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line() {
        assert_eq!(
            problems("# mine\nWORKER_TOKEN=nope\nCONVEX_URL=http://a.example\nIDLE_TIMEOUT=soon\n"),
            [
                "WORKER_TOKEN: Worker token must be in format: machine_<machine_id>:worker_<worker_id>:secret_<secret> (.env:2:1)",
                "CONVEX_URL: Convex URL must use HTTPS (.env:3:1)",
                "IDLE_TIMEOUT: must be a time such as 300000 (milliseconds) or \"300s\" (.env:4:1)",
            ]
        );
        assert_eq!(
            problems(""),
            [
                "WORKER_TOKEN: Worker token is required (.env)",
                "CONVEX_URL: Convex URL is required (.env)",
            ]
        );
    }

    #[test]
    fn a_machines_token_is_told_apart() {
        let found =
            problems("MACHINE_TOKEN=machine_a:secret_b\nCONVEX_URL=https://a.convex.cloud\n");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("MACHINE_TOKEN: this is a machine's token"),
            "{found:?}"
        );
        // Three parts are a worker's, whatever the variable is called.
        let text = format!("MACHINE_TOKEN={TOKEN}\nCONVEX_URL=https://a.convex.cloud\n");
        assert!(read(&text, nothing).is_ok());
    }

    #[test]
    fn the_environment_wins_and_may_use_our_prefix() {
        fn environment(name: &str) -> Option<String> {
            (name == "ORCHESTRATOR_CONVEX_URL").then(|| "https://b.convex.cloud".to_owned())
        }
        let text = format!("WORKER_TOKEN={TOKEN}\nCONVEX_URL=https://a.convex.cloud\n");
        let loaded = read(&text, environment).unwrap();
        assert_eq!(
            loaded.config.workers[0].url.as_str(),
            "https://b.convex.cloud"
        );
    }
}
