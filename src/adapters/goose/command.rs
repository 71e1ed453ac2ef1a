//! The command and the folders of one run. What is set here was measured: without `-q` a banner stands before the
//! JSON, without `--no-profile` it brings tools that nobody expects of it, and without `GOOSE_STATE_MACHINE` most failures
//! are exit code 0.

use std::collections::BTreeMap;
use std::path::Path;

use orchestrator_actors::ports::tasks::Assignment;
use secrecy::ExposeSecret;

use super::{GooseConfig, GooseRunner};
use crate::adapters::oneshot::{Folder, ward};
use crate::adapters::process::{WardSpec, environment};

/// The child, and what of its environment must never be shown.
pub fn describe(
    goose: &GooseRunner,
    assignment: &Assignment,
    folder: &Folder,
) -> (WardSpec, Vec<String>) {
    let config = &goose.config;
    let env = environment(config, folder.path(), &assignment.directory);
    let mut secrets = environment::secrets(&env);
    secrets.extend(
        config
            .keys
            .values()
            .map(|key| key.expose_secret().to_owned())
            .filter(|key| !key.is_empty()),
    );
    let mut spec = ward(&config.common, assignment);
    spec.args = [
        "run",
        "-i",
        &folder.instructions().to_string_lossy(),
        "--no-session",
        "-q",
        "--no-profile",
        "--with-builtin",
        "developer",
        "--max-turns",
        &config.max_turns.to_string(),
        "--output-format",
        "stream-json",
    ]
    .map(str::to_owned)
    .to_vec();
    spec.env = env;
    (spec, secrets)
}

fn environment(config: &GooseConfig, folder: &Path, directory: &Path) -> BTreeMap<String, String> {
    let ours = config.environment.clone();
    let mut env = environment::allowed(ours, &config.env_passthrough);
    // Settings of a Goose of the user's own would lead into folders of its own.
    env.retain(|name, _| !name.starts_with("GOOSE_"));
    let seconds = config.common.limits.silence.as_secs().max(1).to_string();
    let root = folder.to_string_lossy().into_owned();
    for (name, value) in [
        ("GOOSE_PATH_ROOT", root.as_str()),
        ("GOOSE_PROVIDER", &config.provider),
        ("GOOSE_MODEL", &config.model),
        ("GOOSE_MODE", "auto"),
        ("GOOSE_DISABLE_KEYRING", "1"),
        ("GOOSE_STATE_MACHINE", "1"),
        ("GOOSE_DISABLE_SESSION_NAMING", "true"),
        ("OPENAI_TIMEOUT", &seconds),
        ("PWD", &directory.to_string_lossy()),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    env.extend(config.settings.clone());
    for (name, key) in &config.keys {
        env.insert(name.clone(), key.expose_secret().to_owned());
    }
    env
}
