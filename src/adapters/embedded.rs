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
            let mut restarts = Restarts::default();
            loop {
                let now = phases.borrow_and_update().clone();
                restarts.look_at(&now);
                loop {
                    let failed = failed_job.borrow_and_update().clone();
                    report(status(now.clone(), failed, &restarts));
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

#[derive(Default)]
struct Restarts {
    count: u32,
    /// Of the last one: shown as long as nothing newer is wrong.
    reason: Option<String>,
}

impl Restarts {
    fn look_at(&mut self, phase: &Phases) {
        if let Phases::Restarting { reason } = phase {
            self.count += 1;
            self.reason = Some(reason.clone());
        }
    }
}

fn status(phase: Phases, failed_job: Option<String>, restarts: &Restarts) -> EmbeddedStatus {
    let known = || restarts.reason.clone();
    let (phase, last_error) = match phase {
        Phases::Starting => (Phase::Starting, known()),
        Phases::Ready => (Phase::Ready, failed_job.or_else(known)),
        Phases::Troubled { reason } => (Phase::Failed, Some(reason)),
        Phases::Restarting { reason } => (Phase::Restarting, Some(reason)),
        Phases::Stopped => (Phase::Stopping, known()),
    };
    EmbeddedStatus {
        phase,
        restarts: restarts.count,
        last_error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_the_disk_is_shown_while_it_lasts_and_a_restart_is_remembered() {
        let mut restarts = Restarts::default();
        let mut shown = |phase| {
            restarts.look_at(&phase);
            let status = status(phase, None, &restarts);
            (status.phase, status.last_error)
        };
        let reason = || "why".to_owned();
        assert_eq!(shown(Phases::Ready), (Phase::Ready, None));
        let troubled = shown(Phases::Troubled { reason: reason() });
        assert_eq!(troubled, (Phase::Failed, Some(reason())));
        assert_eq!(shown(Phases::Ready), (Phase::Ready, None));
        shown(Phases::Restarting { reason: reason() });
        assert_eq!(shown(Phases::Ready), (Phase::Ready, Some(reason())));
    }
}
