//! One git command: its environment, the settings that no configuration can change back, its limit, and what its failure
//! means. Everything that runs git goes through [`Call::run`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator_actors::ports::git::GitError;
use tokio::time::Instant;

use super::place::Place;
use super::{GitCli, Isolation};
use crate::adapters::process::command::{self, Finished};
use crate::adapters::process::environment::PROXIES;
use crate::adapters::process::lease::LeaseSpec;
use crate::adapters::process::marker::Marker;
use crate::adapters::process::{SpawnError, WardSpec, speaks_of_shortage};

/// What git and ssh need of the user's environment, besides the way to the network. No provider's key is among it, and no `GIT_DIR` or its like.
const NEEDED: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
    "GIT_CONFIG_GLOBAL",
    "GIT_SSH_COMMAND",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// On the command line, and so above every file that somebody could have written. Signing would ask for a passphrase.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.quotePath=false",
    "core.pager=cat",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "push.gpgSign=false",
    "push.followTags=false",
    "push.recurseSubmodules=no",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=dirty",
    "status.showUntrackedFiles=all",
    "branch.autoSetupMerge=false",
    "advice.detachedHead=false",
    "log.showSignature=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.ext.allow=never",
];

/// `git://` has neither keys nor integrity, `ext::` and other helpers are programs.
const PROTOCOLS: &str = "file:ssh:https:http";

const CAPTURE_BYTES: usize = 8 * 1024 * 1024;

/// Git ends at once when it is told to, and takes its lock files away; killed on a busy machine before it has come to
/// that, it would leave one, which nobody but its owner may remove.
const LAST_WORDS_MS: u64 = 5_000;
/// For a git that is being ended, and its warden.
const TURN: Duration = Duration::from_secs(10);
const TURN_LOOK: Duration = Duration::from_millis(1);

pub struct Call<'a> {
    git: &'a GitCli,
    place: Option<&'a Place>,
    /// Where it runs; the place's work tree unless said otherwise.
    directory: PathBuf,
    settings: Vec<String>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    within: Duration,
    reads_only: bool,
}

impl<'a> Call<'a> {
    /// In a known place.
    pub fn at(git: &'a GitCli, place: &'a Place) -> Self {
        Self {
            place: Some(place),
            ..Self::somewhere(git, &place.work_tree)
        }
    }

    /// In a directory of which nothing is known yet.
    pub fn somewhere(git: &'a GitCli, directory: &Path) -> Self {
        Self {
            git,
            place: None,
            directory: directory.to_owned(),
            settings: Vec::new(),
            env: BTreeMap::new(),
            args: Vec::new(),
            within: git.config.limits.local,
            reads_only: false,
        }
    }

    /// It takes no lock, so that a stale one is no hindrance.
    pub fn reading(mut self) -> Self {
        self.reads_only = true;
        self
    }

    /// Paths are taken as they are, without patterns.
    pub fn literally(mut self) -> Self {
        let name = "GIT_LITERAL_PATHSPECS".to_owned();
        self.env.insert(name, "1".to_owned());
        self
    }

    pub fn over_the_network(mut self) -> Self {
        self.within = self.git.config.limits.remote;
        self
    }

    pub fn with(mut self, settings: impl IntoIterator<Item = String>) -> Self {
        self.settings.extend(settings);
        self
    }

    pub fn env(mut self, name: &str, value: &Path) -> Self {
        self.env
            .insert(name.to_owned(), value.to_string_lossy().into_owned());
        self
    }

    /// The result whatever it is; an error only when git could not be run to its end.
    pub async fn try_run<S: Into<String>>(
        mut self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Finished, GitError> {
        self.args = args.into_iter().map(Into::into).collect();
        let what = self.args.first().cloned().unwrap_or_default();
        let within = self.within;
        let (program, lock) = self.git.program_and_lock().await?;
        let mut spec = WardSpec::new(&self.git.config.warden, program, &self.directory);
        spec.env = self.environment();
        spec.args = self.arguments();
        spec.capture_bytes = CAPTURE_BYTES;
        spec.lost_term_ms = LAST_WORDS_MS;
        spec.marker = Marker::of_lock(&lock);
        spec.lease = LeaseSpec {
            session: Some(lock),
            directory: None,
        };
        let finished = in_its_turn(&what, spec, within).await?;
        if finished.timed_out {
            return Err(GitError::TimedOut { what, within });
        }
        Ok(finished)
    }

    /// With a limit of its own.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = self.within.min(limit);
        self
    }

    /// The result of a success.
    pub async fn run<S: Into<String>>(
        self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Finished, GitError> {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        let what = args.first().cloned().unwrap_or_default();
        let finished = self.try_run(args).await?;
        if finished.success() {
            return Ok(finished);
        }
        Err(meaning_of(what, &finished))
    }

    fn arguments(&self) -> Vec<String> {
        let mut all = vec!["--no-pager".to_owned()];
        if self.reads_only {
            all.push("--no-optional-locks".to_owned());
        }
        let fixed = SETTINGS.iter().map(|setting| (*setting).to_owned());
        for setting in fixed.chain(self.settings.iter().cloned()) {
            all.extend(["-c".to_owned(), setting]);
        }
        all.extend(self.args.iter().cloned());
        all
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let config = &self.git.config;
        let mut env: BTreeMap<String, String> = NEEDED
            .iter()
            .chain(PROXIES)
            .filter_map(|name| {
                let value = config.environment.get(*name)?;
                Some(((*name).to_owned(), value.clone()))
            })
            .collect();
        let path = config.environment.get("PATH").map(String::as_str);
        env.insert("PATH".to_owned(), absolute_only(path.unwrap_or_default()));
        for (name, value) in [
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "true"),
            ("SSH_ASKPASS", "true"),
            ("SSH_ASKPASS_REQUIRE", "never"),
            ("GIT_EDITOR", "true"),
            ("GIT_SEQUENCE_EDITOR", "true"),
            ("GIT_PAGER", "cat"),
            ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
            ("GIT_PROTOCOL_FROM_USER", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        // The repository's own `core.sshCommand` loses against this variable.
        env.entry("GIT_SSH_COMMAND".to_owned())
            .or_insert_with(|| "ssh -oBatchMode=yes".to_owned());
        if config.isolation == Isolation::Config {
            env.insert("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned());
            env.insert("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned());
        }
        if let Some(place) = self.place {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            env.insert("GIT_DIR".to_owned(), text(&place.git_dir));
            env.insert("GIT_WORK_TREE".to_owned(), text(&place.work_tree));
        }
        env.extend(self.env.clone());
        env
    }
}

/// Runs it as soon as the git before it is gone.
async fn in_its_turn(what: &str, spec: WardSpec, within: Duration) -> Result<Finished, GitError> {
    let until = Instant::now() + TURN;
    loop {
        let said = match command::run(spec.clone(), within).await {
            Ok(finished) => return Ok(finished),
            Err(SpawnError::Busy(held)) if Instant::now() >= until => {
                return Err(GitError::Locked(held.to_string()));
            }
            Err(SpawnError::Busy(_)) => {
                tokio::time::sleep(TURN_LOOK).await;
                continue;
            }
            Err(SpawnError::Shortage(said)) => return Err(GitError::Shortage(said)),
            Err(SpawnError::Failed(said)) if speaks_of_shortage(&said) => {
                return Err(GitError::Shortage(said));
            }
            Err(SpawnError::Failed(said)) => said,
        };
        let what = what.to_owned();
        return Err(GitError::Failed { what, said });
    }
}

/// An empty or relative folder on the PATH is the current directory, which is the assistant's.
fn absolute_only(path: &str) -> String {
    let folders: Vec<&str> = path
        .split(':')
        .filter(|folder| folder.starts_with('/'))
        .collect();
    folders.join(":")
}

/// What a failure is about, by git's words (the locale is fixed).
pub fn meaning_of(what: String, finished: &Finished) -> GitError {
    let said = finished.last_words();
    let whole = String::from_utf8_lossy(&finished.stderr);
    let has = |part: &str| whole.contains(part);
    if has(".lock': File exists") || has("Unable to create '") && has(".lock'") {
        let file = whole.split('\'').nth(1).unwrap_or(".git/index.lock");
        return GitError::Locked(file.to_owned());
    }
    if speaks_of_shortage(&whole) {
        return GitError::Shortage(said);
    }
    let nobody = [
        "Author identity unknown",
        "Committer identity unknown",
        "empty ident name",
        "consists only of disallowed characters",
        "auto-detection is disabled",
    ];
    if nobody.iter().any(|part| has(part)) {
        return GitError::NoIdentity;
    }
    let denied = [
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "Permission denied (",
        "Host key verification failed",
        "The requested URL returned error: 401",
        "The requested URL returned error: 403",
    ];
    if denied.iter().any(|part| has(part)) {
        return GitError::Denied(said);
    }
    let unreachable = [
        "Could not read from remote",
        "Could not resolve host",
        "unable to access",
        "Connection",
        "early EOF",
        "the remote end hung up",
        "timed out",
    ];
    if unreachable.iter().any(|part| has(part)) {
        return GitError::Unreachable(said);
    }
    GitError::Failed { what, said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(stderr: &str) -> GitError {
        meaning_of("add".to_owned(), &Finished::failed(128, stderr))
    }

    #[test]
    fn git_is_understood_by_its_words() {
        let locked = failed(
            "fatal: Unable to create '/r/.git/index.lock': File exists.\n\nAnother git process seems to be running",
        );
        assert_eq!(locked, GitError::Locked("/r/.git/index.lock".to_owned()));
        assert!(locked.passes_by_itself());
        let gone = failed("fatal: Could not read from remote repository.");
        assert!(matches!(gone, GitError::Unreachable(_)));
        let denied =
            failed("fatal: could not read Username for 'https://h': terminal prompts disabled");
        assert!(matches!(&denied, GitError::Denied(_)) && denied.stops_the_loop());
        assert_eq!(
            failed("Author identity unknown\n*** Please tell me who you are."),
            GitError::NoIdentity
        );
        assert!(matches!(failed("fatal: boom"), GitError::Failed { .. }));
        for said in [
            "error: unable to write file a.txt: No space left on device",
            "fatal: unable to create temporary file: Too many open files",
            "error: cannot fork() for ssh: Resource temporarily unavailable",
        ] {
            let short = failed(said);
            assert!(matches!(&short, GitError::Shortage(_)), "{short:?}");
            assert!(short.stops_the_loop() && short.is_nobodys_fault());
        }
    }

    #[test]
    fn the_current_directory_is_on_no_path() {
        assert_eq!(absolute_only("/usr/bin::.:bin:/bin:"), "/usr/bin:/bin");
    }
}
