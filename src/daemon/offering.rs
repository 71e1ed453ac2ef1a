//! Says at the workers' deployments what their messages can name: the models and agents of their assistants. It is fed by what
//! the assistants list while they load, and goes out with the workers' own tokens, over a connection that lasts as long as the
//! report: there is a new one only when a worker's choice has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use orchestrator_actors::domain::ids::WorkerId;
use orchestrator_actors::machine::WorkerSpec;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::running::Shared;
use crate::adapters::convex::{ClientError, OwnerClient};
use crate::adapters::opencode::Choices;

const TIMEOUT: Duration = Duration::from_secs(15);
/// After a deployment that was away, or one that does not take it yet.
const AGAIN: Duration = Duration::from_secs(30);

/// Ends with this handle.
pub(super) struct Offering {
    _task: AbortOnDropHandle<()>,
}

impl Offering {
    pub fn start(running: &Shared) -> Self {
        let running = running.clone();
        let mut learned = running.opencode.learned();
        let task = async move {
            let mut said: BTreeMap<WorkerId, Choices> = BTreeMap::new();
            loop {
                let known = learned.borrow_and_update().clone();
                let mut is_whole = true;
                for (worker, choices) in known {
                    if said.get(&worker) == Some(&choices) {
                        continue;
                    }
                    let spec = running
                        .desired()
                        .workers
                        .iter()
                        .find(|spec| *spec.id() == worker)
                        .cloned();
                    // One that is served no more has nothing to offer.
                    let Some(spec) = spec else { continue };
                    match report(&spec, &choices).await {
                        Ok(()) => drop(said.insert(worker, choices)),
                        Err(error) => {
                            debug!(%worker, %error, "what its messages can name is not made known");
                            is_whole = false;
                        }
                    }
                }
                let changed = learned.changed();
                let ended = if is_whole {
                    changed.await.is_err()
                } else {
                    let ended = tokio::time::timeout(AGAIN, changed).await;
                    ended.is_ok_and(|changed| changed.is_err())
                };
                if ended {
                    return;
                }
            }
        };
        Self {
            _task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }
}

async fn report(spec: &WorkerSpec, choices: &Choices) -> Result<(), ClientError> {
    let client = OwnerClient::connect_without_identity(&spec.url.to_string(), TIMEOUT).await?;
    let args = json!({
        "token": spec.token.expose(),
        "models": choices.models,
        "agents": choices.agents,
    });
    client.mutation("choices:report", args).await.map(drop)
}
