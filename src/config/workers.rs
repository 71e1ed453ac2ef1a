//! The meaning of `workers.json`: which fields there are, which of them must be there, and what may not be there twice.
//! A directory that is missing is no mistake of the file: that worker is broken, and the others run.

use std::path::PathBuf;
use std::sync::Arc;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::{Range, Ranged};
use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::policy::Policy;
use orchestrator_actors::domain::task::TaskSettings;
use orchestrator_actors::domain::token::{TOKEN_FORMAT_HELP, WorkerToken};
use orchestrator_actors::domain::turn::OnInterrupt;

use super::fields::{Reader, join};
use super::limits::Limits;
use super::notify::{self, NOTIFY_KEYS, Notify};
use super::origin::Origins;
use super::permissions::{DEFAULT_ANSWER_TIMEOUT_MS, read_answer_timeout, read_permissions};
use super::place::{Base, inspect};
use super::tasks::TaskFields;
use super::template::PLACEHOLDER;
use super::time::Millis;
use super::url::{UrlRule, deployment_url};

/// Five minutes, as the documents say.
pub const DEFAULT_IDLE_TIMEOUT_MS: Millis = 300_000;
/// Live assistants of one worker at once.
pub const DEFAULT_MAX_SESSIONS: usize = 4;

pub(super) const TOP_KEYS: &[&str] = &["workers", "machine", "logs", "defaults", "$schema"];
pub(super) const WORKER_KEYS: &[&str] = &[
    "token",
    "working_directory",
    "convex_url",
    "name",
    "idle_timeout",
    "max_sessions",
    "interrupted_turns",
    "tasks",
    "task_runner",
    "max_retries",
    "maxRetries",
    "permissions",
    "answer_timeout",
    "goose",
    "git",
    NOTIFY_KEYS[0],
    NOTIFY_KEYS[1],
    NOTIFY_KEYS[2],
    NOTIFY_KEYS[3],
    NOTIFY_KEYS[4],
];
pub(super) const MACHINE_KEYS: &[&str] = &[
    "name",
    "idle_timeout",
    "sync_interval",
    Limits::KEYS[0],
    Limits::KEYS[1],
    Limits::KEYS[2],
];
pub(super) const LOGS_KEYS: &[&str] = &["level"];
pub(super) const DEFAULTS_KEYS: &[&str] = &[
    "idle_timeout",
    "max_sessions",
    "interrupted_turns",
    "permissions",
    "answer_timeout",
    "env_passthrough",
    "tasks",
    "task_runner",
    "max_retries",
    "maxRetries",
    "goose",
    "git",
    NOTIFY_KEYS[0],
    NOTIFY_KEYS[1],
    NOTIFY_KEYS[2],
    NOTIFY_KEYS[3],
    NOTIFY_KEYS[4],
];

/// A whole, valid configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkersConfig {
    pub machine_name: Option<String>,
    pub limits: Limits,
    pub log_level: Option<String>,
    /// Variables of the environment that assistants get besides the usual ones.
    pub env_passthrough: Vec<String>,
    /// Between two beats of a worker's presence, when it is not the usual time.
    pub sync_interval_ms: Option<Millis>,
    pub workers: Vec<WorkerEntry>,
    /// Of each worker, where its settings came from.
    pub origins: Vec<Origins>,
}

impl WorkersConfig {
    /// Keeps the workers of these names or ids; all of them when none is named.
    pub fn keep_if_named(&mut self, only: &[String]) {
        if only.is_empty() {
            return;
        }
        let is_meant = |entry: &WorkerEntry| {
            only.iter()
                .any(|name| *name == entry.name || name == entry.token.worker().as_str())
        };
        let meant: Vec<bool> = self.workers.iter().map(is_meant).collect();
        let mut of_origins = meant.iter();
        self.origins
            .retain(|_| of_origins.next().copied().unwrap_or(true));
        self.workers.retain(is_meant);
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct WorkerEntry {
    /// Given, or the directory's last part; unique.
    pub name: String,
    pub token: Arc<WorkerToken>,
    /// Absolute; without links when it exists.
    pub directory: PathBuf,
    pub url: DeploymentUrl,
    pub idle_timeout_ms: Millis,
    pub max_sessions: usize,
    pub on_interrupt: OnInterrupt,
    /// How its tasks are done.
    pub tasks: Arc<TaskSettings>,
    pub notify: Notify,
    pub permissions: Policy,
    pub answer_timeout_ms: Millis,
    /// Why this worker cannot serve.
    pub broken: Option<String>,
}

struct Defaults {
    idle_timeout_ms: Millis,
    max_sessions: usize,
    on_interrupt: OnInterrupt,
    permissions: Policy,
    answer_timeout_ms: Millis,
    env_passthrough: Vec<String>,
    tasks: TaskFields,
    notify: Notify,
    origins: Origins,
}

/// Reads the top-level object. Problems and warnings are left in the reader.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Object<'_>,
    base: &Base,
    rule: UrlRule,
) -> WorkersConfig {
    reader.check_keys("", root, TOP_KEYS);
    let mut config = WorkersConfig::default();
    let machine = reader.optional_object("", root, "machine");
    if let Some(machine) = machine {
        reader.check_keys("machine", machine, MACHINE_KEYS);
        config.machine_name = reader
            .optional_string("machine", machine, "name")
            .map(|(name, _)| name.to_owned());
        config.sync_interval_ms = read_sync_interval(reader, machine);
        config.limits = Limits::read(reader, machine);
    }
    if let Some(logs) = reader.optional_object("", root, "logs") {
        reader.check_keys("logs", logs, LOGS_KEYS);
        config.log_level = read_level(reader, logs);
    }
    let defaults = read_defaults(reader, root, machine, base);
    config.env_passthrough.clone_from(&defaults.env_passthrough);
    let start = Range::new(root.range.start, root.range.start + 1);
    match root.get("workers").map(|property| &property.value) {
        None if reader.is_begun => {}
        None => reader.problem("workers", start, "a list of workers is required"),
        Some(Value::Array(array)) if array.elements.is_empty() && !reader.is_begun => {
            reader.problem("workers", array.range, "at least one worker is required");
        }
        Some(Value::Array(array)) => {
            let mut names = Names::given_in(&array.elements);
            for (index, element) in array.elements.iter().enumerate() {
                let path = format!("workers.{index}");
                let Value::Object(object) = element else {
                    reader.wrong_kind(&path, element, "an object");
                    continue;
                };
                if reader.is_begun && given(object, "token") == Some(PLACEHOLDER) {
                    continue;
                }
                reader.check_keys(&path, object, WORKER_KEYS);
                if let Some((entry, origins)) =
                    read_worker(reader, &path, object, &defaults, base, rule, &mut names)
                {
                    config.workers.push(entry);
                    config.origins.push(origins);
                }
            }
        }
        Some(other) => reader.wrong_kind("workers", other, "a list"),
    }
    config
}

fn read_level(reader: &mut Reader<'_>, logs: &Object<'_>) -> Option<String> {
    let (level, range) = reader.optional_string("logs", logs, "level")?;
    if ["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Some(level.to_owned());
    }
    reader.problem(
        "logs.level",
        range,
        "must be one of error, warn, info, debug, trace",
    );
    None
}

/// Without a beat for so long a supervisor counts as gone, to whoever reads its presence (`convex/lib/limits.ts` says the same).
pub const PRESENCE_MS: Millis = 35_000;

/// Three beats have to fit into presence.
pub const SYNC_INTERVAL_MS: std::ops::RangeInclusive<Millis> = 1_000..=11_000;

fn read_sync_interval(reader: &mut Reader<'_>, machine: &Object<'_>) -> Option<Millis> {
    let time = reader.optional_millis("machine", machine, "sync_interval")?;
    if SYNC_INTERVAL_MS.contains(&time) {
        return Some(time);
    }
    if let Some(property) = machine.get("sync_interval") {
        let range = property.value.range();
        reader.problem("machine.sync_interval", range, "must be from 1s to 11s");
    }
    None
}

/// What holds for every worker that does not say otherwise: `defaults`, and before it `machine.idle_timeout`.
fn read_defaults(
    reader: &mut Reader<'_>,
    root: &Object<'_>,
    machine: Option<&Object<'_>>,
    base: &Base,
) -> Defaults {
    let mut defaults = Defaults {
        idle_timeout_ms: DEFAULT_IDLE_TIMEOUT_MS,
        max_sessions: DEFAULT_MAX_SESSIONS,
        on_interrupt: OnInterrupt::default(),
        permissions: Policy::ASK,
        answer_timeout_ms: DEFAULT_ANSWER_TIMEOUT_MS,
        env_passthrough: Vec::new(),
        tasks: TaskFields::default(),
        notify: Notify::default(),
        origins: Origins::default(),
    };
    if let Some(object) = machine
        && let Some(time) = reader.optional_millis("machine", object, "idle_timeout")
    {
        defaults.idle_timeout_ms = time;
        defaults.origins.idle_timeout = reader.origin(object, "idle_timeout").unwrap_or_default();
    }
    if let Some(object) = reader.optional_object("", root, "defaults") {
        reader.check_keys("defaults", object, DEFAULTS_KEYS);
        if let Some(time) = reader.optional_millis("defaults", object, "idle_timeout") {
            defaults.idle_timeout_ms = time;
            defaults.origins.idle_timeout =
                reader.origin(object, "idle_timeout").unwrap_or_default();
        }
        if let Some(count) = reader.optional_count("defaults", object, "max_sessions", 1..=64) {
            defaults.max_sessions = count;
            defaults.origins.max_sessions =
                reader.origin(object, "max_sessions").unwrap_or_default();
        }
        if let Some(policy) = read_on_interrupt(reader, "defaults", object) {
            defaults.on_interrupt = policy;
            defaults.origins.on_interrupt = reader
                .origin(object, "interrupted_turns")
                .unwrap_or_default();
        }
        defaults.tasks.read(reader, "defaults", object, base);
        defaults.notify = notify::read(reader, "defaults", object, &defaults.notify);
        defaults.origins.notify = notify::origins(reader, object, &defaults.origins.notify);
        if let Some(policy) = read_permissions(reader, "defaults", object) {
            defaults.permissions = policy;
            defaults.origins.permissions = reader.origin(object, "permissions").unwrap_or_default();
        }
        if let Some(time) = read_answer_timeout(reader, "defaults", object) {
            defaults.answer_timeout_ms = time;
            defaults.origins.answer_timeout =
                reader.origin(object, "answer_timeout").unwrap_or_default();
        }
        defaults.env_passthrough = reader.optional_strings("defaults", object, "env_passthrough");
    }
    defaults
}

fn read_worker(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
    defaults: &Defaults,
    base: &Base,
    rule: UrlRule,
    names: &mut Names,
) -> Option<(WorkerEntry, Origins)> {
    let token = reader
        .required_string(path, object, "token", "Worker token")
        .and_then(|(text, range)| read_token(reader, path, text, range, names));
    let directory = reader.required_string(path, object, "working_directory", "Working directory");
    let url = reader
        .required_string(path, object, "convex_url", "Convex URL")
        .and_then(|(text, range)| match deployment_url(text, rule) {
            Ok(url) => Some(url),
            Err(message) => {
                reader.problem(&join(path, "convex_url"), range, message);
                None
            }
        });
    let idle_timeout_ms = reader
        .optional_millis(path, object, "idle_timeout")
        .unwrap_or(defaults.idle_timeout_ms);
    let max_sessions = reader
        .optional_count(path, object, "max_sessions", 1..=64)
        .unwrap_or(defaults.max_sessions);
    let on_interrupt = read_on_interrupt(reader, path, object).unwrap_or(defaults.on_interrupt);
    let mut tasks = defaults.tasks.clone();
    tasks.read(reader, path, object, base);
    let notify = notify::read(reader, path, object, &defaults.notify);
    let permissions =
        read_permissions(reader, path, object).unwrap_or_else(|| defaults.permissions.clone());
    let answer_timeout_ms =
        read_answer_timeout(reader, path, object).unwrap_or(defaults.answer_timeout_ms);
    let given_name = match reader.optional_string(path, object, "name") {
        Some((name, range)) => Some(read_name(reader, path, name, range, names)?),
        None => None,
    };
    let (token, (given, range), url) = (token?, directory?, url?);
    let expanded = base.expand(given);
    if is_relative(given) {
        // No mistake: but a service is started somewhere else.
        let message = format!(
            "relative to the folder that `run` is started in: here {}",
            expanded.display()
        );
        let help = Some("write it absolute, or from the home folder (~/…)".to_owned());
        reader.note(&join(path, "working_directory"), range, message, help);
    }
    let origins = Origins {
        name: reader.origin(object, "name").unwrap_or_default(),
        directory: reader.origin_at(object.range.start),
        idle_timeout: reader
            .origin(object, "idle_timeout")
            .unwrap_or_else(|| defaults.origins.idle_timeout.clone()),
        max_sessions: reader
            .origin(object, "max_sessions")
            .unwrap_or_else(|| defaults.origins.max_sessions.clone()),
        on_interrupt: reader
            .origin(object, "interrupted_turns")
            .unwrap_or_else(|| defaults.origins.on_interrupt.clone()),
        tasks: tasks.origins,
        notify: notify::origins(reader, object, &defaults.origins.notify),
        permissions: reader
            .origin(object, "permissions")
            .unwrap_or_else(|| defaults.origins.permissions.clone()),
        answer_timeout: reader
            .origin(object, "answer_timeout")
            .unwrap_or_else(|| defaults.origins.answer_timeout.clone()),
    };
    let (directory, broken) = match inspect(given, &expanded) {
        Ok(directory) => (directory, None),
        Err(reason) => (expanded, Some(reason)),
    };
    let entry = WorkerEntry {
        name: given_name.unwrap_or_else(|| names.derive(&directory)),
        token: Arc::new(token),
        directory,
        url,
        idle_timeout_ms,
        max_sessions,
        on_interrupt,
        tasks: Arc::new(tasks.settings),
        notify,
        permissions,
        answer_timeout_ms,
        broken,
    };
    Some((entry, origins))
}

/// A string as it stands in an entry, whatever is wrong with it.
fn given<'v>(object: &'v Object<'_>, key: &str) -> Option<&'v str> {
    match &object.get(key)?.value {
        Value::StringLit(text) => Some(text.value.as_ref()),
        _ => None,
    }
}

fn is_relative(given: &str) -> bool {
    let path = std::path::Path::new(given);
    path.is_relative() && given != "~" && !given.starts_with("~/")
}

/// What a worker is called when nobody has named it: its directory's last part.
pub(super) fn name_of(directory: &std::path::Path) -> String {
    directory.file_name().map_or_else(
        || "root".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// What becomes of turns that a crash interrupted.
fn read_on_interrupt(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
) -> Option<OnInterrupt> {
    let (word, range) = reader.optional_string(path, object, "interrupted_turns")?;
    let known = OnInterrupt::ALL.into_iter();
    let policy = known.into_iter().find(|policy| policy.as_str() == word);
    if policy.is_none() {
        let at = join(path, "interrupted_turns");
        reader.problem(&at, range, "must be `report` or `continue`");
    }
    policy
}

fn read_token(
    reader: &mut Reader<'_>,
    path: &str,
    text: &str,
    range: Range,
    names: &mut Names,
) -> Option<WorkerToken> {
    let at = join(path, "token");
    let Ok(token) = WorkerToken::parse(text) else {
        reader.problem(&at, range, TOKEN_FORMAT_HELP);
        return None;
    };
    let id = token.worker().to_string();
    if let Some((_, first)) = names.workers.iter().find(|(known, _)| *known == id) {
        let message = format!("each worker must have a unique token (worker {id} is also {first})");
        reader.problem(&at, range, message);
        return None;
    }
    names.workers.push((id, path.to_owned()));
    Some(token)
}

fn read_name(
    reader: &mut Reader<'_>,
    path: &str,
    name: &str,
    range: Range,
    names: &mut Names,
) -> Option<String> {
    let at = join(path, "name");
    if !is_name(name) {
        reader.problem(&at, range, NAME_RULE);
        return None;
    }
    if names.taken.iter().any(|taken| taken == name) {
        reader.problem(&at, range, format!("another worker is called `{name}`"));
        return None;
    }
    names.taken.push(name.to_owned());
    Some(name.to_owned())
}

/// The longest name of a worker.
const NAME_CHARS: usize = 60;
pub const NAME_RULE: &str = "must be 1 to 60 characters without a slash";

/// Whether a worker may be called so here.
pub fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= NAME_CHARS && name.chars().all(is_of_a_name)
}

fn is_of_a_name(c: char) -> bool {
    !c.is_control() && c != '/'
}

/// The nearest to `wanted` that a worker may be called and that no other one is called.
pub(super) fn fitting_name(wanted: &str, taken: &[String]) -> String {
    let plain: String = wanted
        .chars()
        .map(|c| if is_of_a_name(c) { c } else { '-' })
        .take(NAME_CHARS)
        .collect();
    let stem = if is_name(&plain) { &plain } else { "worker" };
    free_name(stem, |name| taken.iter().any(|taken| taken == name))
}

/// With a number when it is taken.
fn free_name(stem: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = stem.to_owned();
    let mut number = 2;
    while is_taken(&name) {
        let end = format!("-{number}");
        let room = NAME_CHARS - end.len();
        name = stem.chars().take(room).chain(end.chars()).collect();
        number += 1;
    }
    name
}

/// What is taken already in this file.
#[derive(Default)]
struct Names {
    /// What somebody calls a worker anywhere in the file: no other one is called so for its directory.
    given: Vec<String>,
    taken: Vec<String>,
    /// Worker id and the path of its entry.
    workers: Vec<(String, String)>,
}

impl Names {
    fn given_in(entries: &[Value<'_>]) -> Self {
        let name_of = |entry: &Value<'_>| match entry {
            Value::Object(object) => given(object, "name").map(str::to_owned),
            _ => None,
        };
        Self {
            given: entries.iter().filter_map(name_of).collect(),
            ..Self::default()
        }
    }

    /// The directory's last part, with a number when that is taken.
    fn derive(&mut self, directory: &std::path::Path) -> String {
        let is_taken = |name: &str| {
            let mut taken = self.taken.iter().chain(&self.given);
            taken.any(|taken| taken == name)
        };
        let name = free_name(&name_of(directory), is_taken);
        self.taken.push(name.clone());
        name
    }
}
