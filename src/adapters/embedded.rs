//! The port to the embedded deployment: its engine's phases in the tree's words.

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::embedded::{Embedded, EmbeddedStatus};
use orchestrator_backend::Deployment;
use tokio::sync::watch;

pub struct EmbeddedPort {
    url: DeploymentUrl,
    detail: String,
    phases: watch::Receiver<orchestrator_backend::Phase>,
}

impl EmbeddedPort {
    /// `detail` is what `ps` says of it.
    pub fn new(deployment: &Deployment, detail: String) -> Self {
        Self {
            url: DeploymentUrl::new(deployment.url()),
            detail,
            phases: deployment.watch_phase(),
        }
    }
}

impl Embedded for EmbeddedPort {
    fn url(&self) -> DeploymentUrl {
        self.url.clone()
    }

    fn detail(&self) -> String {
        self.detail.clone()
    }

    fn follow(&self, report: Box<dyn Fn(EmbeddedStatus) + Send + Sync>) -> Pending<()> {
        let mut phases = self.phases.clone();
        Box::pin(async move {
            let mut restarts = 0;
            loop {
                let now = phases.borrow_and_update().clone();
                report(status(now, &mut restarts));
                if phases.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

fn status(phase: orchestrator_backend::Phase, restarts: &mut u32) -> EmbeddedStatus {
    let (phase, last_error) = match phase {
        orchestrator_backend::Phase::Starting => (Phase::Starting, None),
        orchestrator_backend::Phase::Ready => (Phase::Ready, None),
        orchestrator_backend::Phase::Restarting { reason } => {
            *restarts += 1;
            (Phase::Restarting, Some(reason))
        }
        orchestrator_backend::Phase::Stopped => (Phase::Stopping, None),
    };
    EmbeddedStatus {
        phase,
        restarts: *restarts,
        last_error,
    }
}
