//! The port to the embedded deployment: its engine's phases in the tree's words, and the last scheduled function that
//! failed, which nobody would notice otherwise: it answers nobody.

use orchestrator_actors::domain::ids::DeploymentUrl;
use orchestrator_actors::domain::phase::Phase;
use orchestrator_actors::ports::Pending;
use orchestrator_actors::ports::embedded::{Embedded, EmbeddedStatus};
use orchestrator_backend::{Deployment, Phase as Phases};
use tokio::sync::watch;

pub struct EmbeddedPort {
    url: DeploymentUrl,
    detail: String,
    phases: watch::Receiver<Phases>,
    failed_job: watch::Receiver<Option<String>>,
}

impl EmbeddedPort {
    /// `detail` is what `ps` says of it.
    pub fn new(deployment: &Deployment, detail: String) -> Self {
        Self {
            url: DeploymentUrl::new(deployment.url()),
            detail,
            phases: deployment.watch_phase(),
            failed_job: deployment.watch_failed_job(),
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
        let mut failed_job = self.failed_job.clone();
        Box::pin(async move {
            let mut restarts = 0;
            loop {
                let now = phases.borrow_and_update().clone();
                restarts += u32::from(matches!(now, Phases::Restarting { .. }));
                loop {
                    let failed = failed_job.borrow_and_update().clone();
                    report(status(now.clone(), failed, restarts));
                    let changed = tokio::select! {
                        changed = phases.changed() => Some(changed),
                        changed = failed_job.changed() => changed.err().map(Err),
                    };
                    match changed {
                        Some(Ok(())) => break,
                        Some(Err(_)) => return,
                        None => {}
                    }
                }
            }
        })
    }
}

fn status(phase: Phases, failed_job: Option<String>, restarts: u32) -> EmbeddedStatus {
    let (phase, last_error) = match phase {
        Phases::Starting => (Phase::Starting, None),
        Phases::Ready => (Phase::Ready, failed_job),
        Phases::Restarting { reason } => (Phase::Restarting, Some(reason)),
        Phases::Stopped => (Phase::Stopping, None),
    };
    EmbeddedStatus {
        phase,
        restarts,
        last_error,
    }
}
