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
            let mut restarts = Restarts::default();
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

#[derive(Default)]
struct Restarts {
    count: u32,
    /// Of the last one: shown as long as nothing newer is wrong.
    reason: Option<String>,
}

fn status(phase: orchestrator_backend::Phase, restarts: &mut Restarts) -> EmbeddedStatus {
    let (phase, last_error) = match phase {
        orchestrator_backend::Phase::Starting => (Phase::Starting, restarts.reason.clone()),
        orchestrator_backend::Phase::Ready => (Phase::Ready, restarts.reason.clone()),
        orchestrator_backend::Phase::Troubled { reason } => (Phase::Failed, Some(reason)),
        orchestrator_backend::Phase::Restarting { reason } => {
            restarts.count += 1;
            restarts.reason = Some(reason.clone());
            (Phase::Restarting, Some(reason))
        }
        orchestrator_backend::Phase::Stopped => (Phase::Stopping, restarts.reason.clone()),
    };
    EmbeddedStatus {
        phase,
        restarts: restarts.count,
        last_error,
    }
}

#[cfg(test)]
mod tests {
    use orchestrator_backend::Phase as Engine;

    use super::*;

    #[test]
    fn trouble_with_the_disk_is_shown_while_it_lasts_and_a_restart_is_remembered() {
        let mut restarts = Restarts::default();
        let mut shown = |phase| {
            let status = status(phase, &mut restarts);
            (status.phase, status.last_error)
        };
        let reason = || "why".to_owned();
        assert_eq!(shown(Engine::Ready), (Phase::Ready, None));
        let troubled = shown(Engine::Troubled { reason: reason() });
        assert_eq!(troubled, (Phase::Failed, Some(reason())));
        assert_eq!(shown(Engine::Ready), (Phase::Ready, None));
        shown(Engine::Restarting { reason: reason() });
        assert_eq!(shown(Engine::Ready), (Phase::Ready, Some(reason())));
    }
}
