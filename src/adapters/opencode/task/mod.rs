//! OpenCode as a command that does one task (`opencode run`), behind the same port as Goose, so that which of them a worker
//! uses is a setting. It keeps the user's configuration and credentials, as its sessions do, with a database of the
//! run's own. The task's text is the prompt, through stdin: an argument would be visible to everybody, and of a file its tool
//! for reading cuts long lines.

mod transcript;

use std::collections::BTreeMap;
use std::sync::Arc;

use orchestrator_actors::domain::task::Failure;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::tasks::{Assignment, RunReport, Runner};
use tokio_util::sync::CancellationToken;

use super::HermeticSettings;
use crate::adapters::oneshot::{self, Common, End, Folder, OneShot, ward};
use crate::adapters::process::{WardSpec, environment};
use transcript::{Transcript, verdict};

/// Behind every task. A model that asks back would wait for nobody.
pub const UNATTENDED: &str = "(Do this in the working directory, to its end, without asking back: nobody is there to answer.)";

#[derive(Clone, Debug)]
pub struct OpenCodeTaskConfig {
    pub common: Common,
    /// The environment that OpenCode's is made of; only what an assistant may see is taken.
    pub environment: BTreeMap<String, String>,
    /// Further variables that it may see (patterns).
    pub env_passthrough: Vec<String>,
    /// `provider/model`; `None`: as OpenCode is configured.
    pub model: Option<String>,
    /// For the demo and tests.
    pub hermetic: Option<HermeticSettings>,
}

/// Runs OpenCode for tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenCodeTaskRunner {
    config: Arc<OpenCodeTaskConfig>,
}

impl OpenCodeTaskRunner {
    pub fn new(config: OpenCodeTaskConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    fn environment(&self, folder: &Folder, assignment: &Assignment) -> BTreeMap<String, String> {
        let config = &self.config;
        let ours = config.environment.clone();
        let mut env = environment::allowed(ours, &config.env_passthrough);
        if let Some(hermetic) = &config.hermetic {
            hermetic.apply(&mut env);
        }
        let database = folder.path().join("opencode.db");
        for (name, value) in [
            ("OPENCODE_DB", database.to_string_lossy()),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1".into()),
            ("PWD", assignment.directory.to_string_lossy()),
        ] {
            env.insert(name.to_owned(), value.into_owned());
        }
        env
    }
}

impl OneShot for OpenCodeTaskRunner {
    type Transcript = Transcript;

    fn name(&self) -> &'static str {
        "opencode"
    }

    fn common(&self) -> &Common {
        &self.config.common
    }

    fn describe(&self, assignment: &Assignment, folder: &Folder) -> (WardSpec, Vec<String>) {
        let mut spec = ward(&self.config.common, assignment);
        let mut args = vec!["run".to_owned(), "--format".to_owned(), "json".to_owned()];
        if let Some(model) = &self.config.model {
            args.extend(["--model".to_owned(), model.clone()]);
        }
        spec.args = args;
        spec.stdin = Some(format!("{}\n\n{UNATTENDED}\n", assignment.description));
        spec.env = self.environment(folder, assignment);
        let secrets = environment::secrets(&spec.env);
        (spec, secrets)
    }

    fn verdict(&self, end: &End, transcript: &Transcript) -> Result<RunReport, Failure> {
        verdict(end, transcript)
    }
}

impl Runner for OpenCodeTaskRunner {
    fn run(
        &self,
        assignment: Assignment,
        abort: CancellationToken,
    ) -> Pending<Result<RunReport, Failure>> {
        let opencode = self.clone();
        Box::pin(async move { oneshot::run(&opencode, &assignment, &abort).await })
    }
}
