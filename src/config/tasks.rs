//! What `workers.json` says about tasks: `tasks`, `task_runner`, `max_retries`, `goose` and `git`, of a worker or, under `defaults`,
//! of all of them; a worker's own word counts setting by setting. Names are taken in both spellings (`process_timeout`,
//! `processTimeout`). Keys of providers are not among it: they come from the environment alone.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;
use orchestrator_actors::domain::task::{
    BranchName, Committer, GitIsolation, GitSettings, GooseSettings, RunnerKind, TaskSettings,
};

use super::fields::{Reader, join};
use super::origin::Origin;
use super::place::Base;

pub(super) const GOOSE_KEYS: &[&str] = &[
    "provider",
    "model",
    "process_timeout",
    "processTimeout",
    "instructions_file",
    "instructionsFile",
    "max_turns",
    "maxTurns",
];
/// Known, and refused with a word of their own.
const NO_KEYS: &[&str] = &["apiKeys", "api_keys"];
pub(super) const GIT_KEYS: &[&str] = &[
    "branch_prefix",
    "branchPrefix",
    "user",
    "userConfig",
    "isolation",
    "push",
];
pub(super) const USER_KEYS: &[&str] = &["name", "email"];

/// Of the configuration's documents; the deployment takes no more.
const MOST_RETRIES: usize = 100;

#[derive(Clone, Debug, Default)]
pub(super) struct TaskFields {
    pub settings: TaskSettings,
    pub origins: BTreeMap<&'static str, Origin>,
}

impl TaskFields {
    /// Takes what `object` says over what is there.
    pub fn read(&mut self, reader: &mut Reader<'_>, path: &str, object: &Object<'_>, base: &Base) {
        if let Some(enabled) = reader.optional_bool(path, object, "tasks") {
            self.settings.enabled = enabled;
            self.came_from(reader, object, "tasks", "tasks");
        }
        if let Some(kind) = read_runner(reader, path, object) {
            self.settings.runner = Some(kind);
            self.came_from(reader, object, "task_runner", "task_runner");
        }
        let key = spelling(object, "max_retries", "maxRetries");
        if let Some(retries) = reader.optional_count(path, object, key, 0..=MOST_RETRIES) {
            self.settings.max_retries = u32::try_from(retries).ok();
            self.came_from(reader, object, key, "max_retries");
        }
        if let Some(goose) = reader.optional_object(path, object, "goose") {
            self.read_goose(reader, &join(path, "goose"), goose, base);
        }
        if let Some(git) = reader.optional_object(path, object, "git") {
            self.read_git(reader, &join(path, "git"), git);
        }
    }

    fn read_goose(
        &mut self,
        reader: &mut Reader<'_>,
        path: &str,
        object: &Object<'_>,
        base: &Base,
    ) {
        reader.check_keys(path, object, &[GOOSE_KEYS, NO_KEYS].concat());
        if let Some(keys) = object.get("apiKeys").or_else(|| object.get("api_keys")) {
            let help = "keys come from the environment alone: OPENROUTER_API_KEY and its like";
            reader.warning(
                &join(path, keys.name.as_str()),
                keys.value.range(),
                "ignored: no key is taken from this file",
                Some(help.to_owned()),
            );
        }
        let mut goose = self.settings.goose.take().unwrap_or_default();
        if let Some(provider) = some_text(reader, path, object, "provider") {
            goose.provider = Some(provider);
            self.came_from(reader, object, "provider", "goose.provider");
        }
        if let Some(model) = some_text(reader, path, object, "model") {
            goose.model = Some(model);
            self.came_from(reader, object, "model", "goose.model");
        }
        let key = spelling(object, "process_timeout", "processTimeout");
        if let Some(time) = reader.optional_millis(path, object, key) {
            goose.process_timeout_ms = Some(time);
            self.came_from(reader, object, key, "goose.process_timeout");
        }
        let key = spelling(object, "instructions_file", "instructionsFile");
        if let Some(file) = some_text(reader, path, object, key) {
            goose.instructions_file = Some(base.expand(&file));
            self.came_from(reader, object, key, "goose.instructions_file");
        }
        let key = spelling(object, "max_turns", "maxTurns");
        if let Some(turns) = reader.optional_count(path, object, key, 1..=10_000) {
            goose.max_turns = u32::try_from(turns).ok();
            self.came_from(reader, object, key, "goose.max_turns");
        }
        self.settings.goose = Some(goose);
    }

    fn read_git(&mut self, reader: &mut Reader<'_>, path: &str, object: &Object<'_>) {
        reader.check_keys(path, object, GIT_KEYS);
        let key = spelling(object, "branch_prefix", "branchPrefix");
        if let Some((prefix, range)) = reader.optional_string(path, object, key) {
            match BranchName::of_task(prefix, "a task") {
                Ok(_) => prefix.clone_into(&mut self.settings.git.branch_prefix),
                Err(error) => reader.problem(&join(path, key), range, error.to_string()),
            }
            self.came_from(reader, object, key, "git.branch_prefix");
        }
        let key = spelling(object, "user", "userConfig");
        if let Some(user) = reader.optional_object(path, object, key) {
            let at = join(path, key);
            reader.check_keys(&at, user, USER_KEYS);
            let name = reader.required_string(&at, user, "name", "The committer's name");
            let email = reader.required_string(&at, user, "email", "The committer's email");
            if let (Some((name, _)), Some((email, _))) = (name, email) {
                self.settings.git.user = Some(Committer {
                    name: name.to_owned(),
                    email: email.to_owned(),
                });
            }
            self.came_from(reader, object, key, "git.user");
        }
        if let Some(isolation) = read_isolation(reader, path, object) {
            self.settings.git.isolation = isolation;
            self.came_from(reader, object, "isolation", "git.isolation");
        }
        if let Some(push) = reader.optional_bool(path, object, "push") {
            self.settings.git.push = push;
            self.came_from(reader, object, "push", "git.push");
        }
    }

    fn came_from(
        &mut self,
        reader: &Reader<'_>,
        object: &Object<'_>,
        key: &str,
        name: &'static str,
    ) {
        let origin = reader.origin(object, key).unwrap_or_default();
        self.origins.insert(name, origin);
    }
}

/// The spelling that the object uses; ours when it uses neither.
fn spelling<'k>(object: &Object<'_>, ours: &'k str, other: &'k str) -> &'k str {
    if object.get(ours).is_none() && object.get(other).is_some() {
        other
    } else {
        ours
    }
}

fn some_text(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
    key: &str,
) -> Option<String> {
    let (text, range) = reader.optional_string(path, object, key)?;
    if text.trim().is_empty() {
        reader.problem(&join(path, key), range, "must not be empty");
        return None;
    }
    Some(text.to_owned())
}

fn read_runner(reader: &mut Reader<'_>, path: &str, object: &Object<'_>) -> Option<RunnerKind> {
    let (word, range) = reader.optional_string(path, object, "task_runner")?;
    let known = RunnerKind::ALL.into_iter();
    let kind = known.into_iter().find(|kind| kind.as_str() == word);
    if kind.is_none() {
        let at = join(path, "task_runner");
        reader.problem(&at, range, "must be `goose` or `opencode`");
    }
    kind
}

/// A word, or, as older configurations have it, whether there is any.
fn read_isolation(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
) -> Option<GitIsolation> {
    let value = &object.get("isolation")?.value;
    match value {
        Value::BooleanLit(literal) if literal.value => return Some(GitIsolation::Worktree),
        Value::BooleanLit(_) => return Some(GitIsolation::Off),
        Value::StringLit(word) => {
            let known = GitIsolation::ALL.into_iter();
            let found = known
                .into_iter()
                .find(|isolation| isolation.as_str() == word.value);
            if found.is_some() {
                return found;
            }
        }
        _ => {}
    }
    let at = join(path, "isolation");
    reader.problem(&at, value.range(), "must be `off`, `config` or `worktree`");
    None
}

/// What a setting amounts to, for people: every one of them, by the path that its origin has.
pub fn shown(settings: &TaskSettings) -> Vec<(&'static str, String)> {
    let none = GooseSettings::default();
    let goose = settings.goose.as_ref().unwrap_or(&none);
    let usual = |text: &str| text.to_owned();
    let GitSettings {
        branch_prefix,
        user,
        isolation,
        push,
    } = &settings.git;
    vec![
        ("tasks", usual(if settings.enabled { "on" } else { "off" })),
        (
            "task_runner",
            settings.runner.map_or_else(
                || usual("goose if it can be used, else opencode"),
                |kind| kind.as_str().to_owned(),
            ),
        ),
        (
            "max_retries",
            settings
                .max_retries
                .map_or_else(|| usual("2"), |count| count.to_string()),
        ),
        (
            "goose.provider",
            goose
                .provider
                .clone()
                .unwrap_or_else(|| usual("openrouter")),
        ),
        (
            "goose.model",
            goose
                .model
                .clone()
                .unwrap_or_else(|| usual("anthropic/claude-sonnet-4")),
        ),
        (
            "goose.process_timeout",
            goose
                .process_timeout_ms
                .map_or_else(|| usual("1800s"), |ms| format!("{}s", ms as f64 / 1000.0)),
        ),
        (
            "goose.max_turns",
            goose
                .max_turns
                .map_or_else(|| usual("100"), |turns| turns.to_string()),
        ),
        (
            "goose.instructions_file",
            goose
                .instructions_file
                .as_ref()
                .map_or_else(|| usual("none"), |path| path.display().to_string()),
        ),
        (
            "git.branch_prefix",
            if branch_prefix.is_empty() {
                usual("none")
            } else {
                branch_prefix.clone()
            },
        ),
        (
            "git.user",
            user.as_ref().map_or_else(
                || usual("as git is configured"),
                |user| format!("{} <{}>", user.name, user.email),
            ),
        ),
        ("git.isolation", isolation.as_str().to_owned()),
        ("git.push", usual(if *push { "on" } else { "off" })),
    ]
}
