//! Meets the verbs of the control socket. A stop is handed to the main loop, which owns it; the answer says what is being
//! stopped and how long that may take.

use std::time::Duration;

use orchestrator_actors::domain::ids::{SessionId, WorkerId};
use orchestrator_actors::ports::Pending;
use orchestrator_actors::worker::Wish;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::models;
use super::running::{Running, Shared};
use crate::control::metrics::exposition;
use crate::control::{Attach, Handler, Refusal, Verb};

/// What a `stop` asks of the main loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopRequest {
    pub force: bool,
    pub limit: Duration,
    /// And then start again.
    pub again: bool,
}

impl StopRequest {
    /// Within the time that the supervisor was started with, unless another one is said.
    fn new(running: &Running, limit: Option<Duration>, force: bool) -> Self {
        Self {
            force,
            limit: limit.unwrap_or(running.options.shutdown),
            again: false,
        }
    }

    fn and_start_again(self) -> Self {
        Self {
            again: true,
            ..self
        }
    }
}

pub(super) struct Controls {
    running: Shared,
    stops: mpsc::Sender<StopRequest>,
}

impl Controls {
    pub fn new(running: Shared, stops: mpsc::Sender<StopRequest>) -> Self {
        Self { running, stops }
    }
}

impl Handler for Controls {
    fn handle(&self, verb: Verb) -> Pending<Result<Value, Refusal>> {
        let running = Shared::clone(&self.running);
        let stops = self.stops.clone();
        Box::pin(async move {
            match verb {
                Verb::Ps => value(&running.report()),
                Verb::Metrics => {
                    let table = running.tree.handle.table();
                    Ok(exposition(&running.report(), table.counters()).into())
                }
                Verb::Reload { dry_run } => value(&running.reload(dry_run).await?),
                Verb::Pause { worker, paused } => pause(&running, &worker, paused).await,
                Verb::Stop { force, timeout_ms } => {
                    let limit = timeout_ms.map(Duration::from_millis);
                    stop(&running, &stops, StopRequest::new(&running, limit, force))
                }
                Verb::StartAgain => {
                    let request = StopRequest::new(&running, None, false);
                    stop(&running, &stops, request.and_start_again())
                }
                Verb::Restart { actor } => {
                    let key = running.actor_named(&actor)?;
                    done(running.tree.handle.restart(key.clone()).await)?;
                    Ok(json!({"actor": key}))
                }
                Verb::Wake { worker, session } => {
                    wish(&running, &worker, &session, Wish::Wake).await
                }
                Verb::Rest { worker, session } => {
                    wish(&running, &worker, &session, Wish::Rest).await
                }
                Verb::Attach { session } => attach(&running, &session),
                Verb::Models { worker } => value(&models::ask(&running, &worker).await?),
                Verb::Panic { actor } => panic_in(&running, &actor),
                Verb::Block { actor, ms } => block_in(&running, &actor, ms),
            }
        })
    }
}

async fn pause(running: &Shared, name: &str, paused: bool) -> Result<Value, Refusal> {
    let key = running.actor_named(name)?;
    let Some(id) = key.as_str().strip_prefix("worker/") else {
        return Err(Refusal::new("invalid", format!("`{key}` is not a worker")));
    };
    let worker = WorkerId::from(id);
    let changed = running.pause(&worker, paused).await?;
    Ok(json!({"worker": worker, "changed": changed}))
}

async fn wish(running: &Shared, worker: &str, session: &str, wish: Wish) -> Result<Value, Refusal> {
    let (worker, session) = (WorkerId::from(worker), SessionId::from(session));
    done(running.tree.handle.wish(worker, session, wish).await)?;
    Ok(json!({}))
}

fn attach(running: &Running, session: &str) -> Result<Value, Refusal> {
    let session = SessionId::from(session);
    let Some(reach) = running.opencode.reach(&session) else {
        return Err(Refusal::new(
            "failed",
            format!("no assistant of session `{session}` is up"),
        ));
    };
    value(&Attach {
        pid: reach.pid,
        url: reach.url,
        directory: reach.directory,
        binary: running.opencode.binary().to_owned(),
        password: reach.password.expose_secret().to_owned(),
    })
}

/// What the tree refuses.
fn done<T>(result: Result<T, String>) -> Result<T, Refusal> {
    result.map_err(|reason| Refusal::new("failed", reason))
}

fn value(of: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(of).map_err(|error| Refusal::new("failed", error.to_string()))
}

fn stop(
    running: &Shared,
    stops: &mpsc::Sender<StopRequest>,
    request: StopRequest,
) -> Result<Value, Refusal> {
    let (workers, sessions) = running.counts();
    stops
        .try_send(request)
        .map_err(|_| Refusal::new("stopping", "the supervisor is stopping already"))?;
    let limit_ms = if request.force {
        1_000
    } else {
        request.limit.as_millis() as u64
    };
    Ok(json!({"workers": workers, "sessions": sessions, "limit_ms": limit_ms}))
}

#[cfg(debug_assertions)]
fn panic_in(running: &Shared, actor: &str) -> Result<Value, Refusal> {
    let key = running.actor_named(actor)?;
    if key == orchestrator_actors::table::ActorKey::deployment() {
        let embedded = running
            .embedded
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(embedded) = embedded.as_ref() {
            embedded.inject_panic();
        }
        return Ok(json!({"actor": key}));
    }
    done(running.tree.handle.inject_panic(key.clone()))?;
    Ok(json!({"actor": key}))
}

#[cfg(debug_assertions)]
fn block_in(running: &Shared, actor: &str, ms: u64) -> Result<Value, Refusal> {
    use orchestrator_actors::supervision::fault::Fault;
    let key = running.actor_named(actor)?;
    let blocked = Fault::Block(Duration::from_millis(ms));
    done(running.tree.handle.inject(key.clone(), blocked))?;
    Ok(json!({"actor": key}))
}

#[cfg(not(debug_assertions))]
fn block_in(running: &Shared, actor: &str, _ms: u64) -> Result<Value, Refusal> {
    panic_in(running, actor)
}

#[cfg(not(debug_assertions))]
fn panic_in(_running: &Shared, _actor: &str) -> Result<Value, Refusal> {
    Err(Refusal::new(
        "invalid",
        "faults are injected in debug builds only",
    ))
}
