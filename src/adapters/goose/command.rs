//! The command and the folders of one run. What is set here was measured: without `-q` a banner stands before the
//! JSON, without `--no-profile` it brings tools that nobody expects of it, and without `GOOSE_STATE_MACHINE` most failures
//! are exit code 0.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use orchestrator_actors::ports::tasks::Assignment;
use secrecy::ExposeSecret;

use super::{GooseConfig, GooseRunner};
use crate::adapters::process::journal::Journal;
use crate::adapters::process::lease::{LeaseSpec, session_lock};
use crate::adapters::process::marker::{Marker, file_key};
use crate::adapters::process::{WardSpec, environment};

/// Goose's folders and the instructions, outside the repository: removed when this is dropped. They hold the whole
/// conversation, readable to all by Goose's own choice, so the folder around them is the user's alone.
pub struct Folder(PathBuf);

impl Folder {
    pub fn make(config: &GooseConfig, key: &str) -> io::Result<Self> {
        let all = config.run_dir.join("goose");
        DirBuilder::new().recursive(true).mode(0o700).create(&all)?;
        let own = all.join(key);
        // A killed supervisor may have left one.
        let _ = fs::remove_dir_all(&own);
        DirBuilder::new().mode(0o700).create(&own)?;
        Ok(Self(own))
    }

    pub fn instructions(&self) -> PathBuf {
        self.0.join("instructions.md")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The child, and what of its environment must never be shown.
pub fn describe(
    goose: &GooseRunner,
    assignment: &Assignment,
    folder: &Folder,
) -> (WardSpec, Vec<String>) {
    let config = &goose.config;
    let env = environment(config, &folder.0, &assignment.directory);
    let mut secrets = environment::secrets(&env);
    secrets.extend(
        config
            .keys
            .values()
            .map(|key| key.expose_secret().to_owned())
            .filter(|key| !key.is_empty()),
    );
    let key = key_of(assignment);
    let mut spec = WardSpec::new(&config.warden, &config.binary, &assignment.directory);
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
    spec.lease = LeaseSpec {
        session: Some(session_lock(&config.run_dir.join("locks"), &key)),
        directory: None,
    };
    spec.marker = Some(Marker::new(&goose.markers, &key));
    spec.temporary = Some(config.run_dir.join("tmp").join(&key));
    spec.journal = Some((Journal::in_state_folder(&config.state_dir), key));
    (spec, secrets)
}

/// A task's name among sessions: what a dead supervisor left of it is found and swept under this.
pub fn key_of(assignment: &Assignment) -> String {
    file_key(&format!("task-{}", assignment.task))
}

fn environment(config: &GooseConfig, folder: &Path, directory: &Path) -> BTreeMap<String, String> {
    let ours = config.environment.clone();
    let mut env = environment::allowed(ours, &config.env_passthrough);
    // Settings of a Goose of the user's own would lead into folders of its own.
    env.retain(|name, _| !name.starts_with("GOOSE_"));
    let seconds = config.limits.silence.as_secs().max(1).to_string();
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
