//! The other runner, the real OpenCode under the scripted model, through the same loop.

use std::sync::Arc;

use orchestrator::adapters::opencode::HermeticSettings;
use orchestrator::adapters::opencode::task::{OpenCodeTaskConfig, OpenCodeTaskRunner};
use orchestrator_actors::ports::tasks::LoopEnd;
use orchestrator_test_support::{Model, eventually};

use crate::repository::{Repository, orchestrator};
use crate::stage::{Stage, common};

#[tokio::test(flavor = "multi_thread")]
async fn opencode_does_a_task_on_its_branch() {
    let opencode =
        tokio::task::spawn_blocking(|| orchestrator_test_support::agents(&orchestrator()));
    let opencode = opencode.await.unwrap();
    let model = Model::start(&orchestrator().display().to_string());
    let repository = Repository::new();
    let folder = repository.folder.path().canonicalize().unwrap();
    let hermetic =
        HermeticSettings::new(folder.join("opencode-home"), format!("{}/v1", model.url()));
    hermetic.prepare().unwrap();
    let runner = OpenCodeTaskRunner::new(OpenCodeTaskConfig {
        common: common(&folder, opencode),
        environment: repository.environment(),
        env_passthrough: Vec::new(),
        model: None,
        hermetic: Some(hermetic),
    });
    let git = Arc::new(repository.cli());
    let task = "create a simple hello.txt file with greeting";
    // What stands at the end of a long line reaches the model, too.
    let far = format!(
        "SCRIPT:{{\"steps\":[[{{\"reason\":\"{}\"}},{{\"tool\":\"write\",\"args\":{{\"filePath\":\"far.txt\",\"content\":\"far\"}}}}]]}}",
        "x".repeat(9_000)
    );
    let mut stage = Stage::of(repository, &[task, &far], Arc::new(runner), git);
    stage.model = Some(model);
    assert_eq!(stage.run().await, LoopEnd::Stopped);
    assert_eq!(stage.failures(), [], "{:?}", stage.queue.acknowledged());
    assert!(stage.repository.has("hello.txt"));
    assert_eq!(stage.repository.read("far.txt"), "far");
    let pushed = stage.repository.remote_branches();
    assert_eq!(pushed.len(), 3);
    assert!(pushed.contains(&"5438721616148507".to_owned()));
    eventually("no process is left", || stage.left() == 0);
}
