//! The actor: one arm per message, and the loop beside it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use super::deps::Deps;
use super::gate::Gate;
use super::messages::TaskMsg;
use super::show::Shown;
use super::state::{Calls, TaskArgs, TaskState};
use crate::domain::phase::Phase;
use crate::ports::tasks::{Blocked, LoopEnd, Site};
use crate::supervision::{Address, Envelope, Tasks};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};
use crate::tasks::{LinkQueue, LoopSettings, LooperDeps, run_loop};

/// A blocked loop looks again after so long, then after twice that, and so on.
const LOOK_FIRST: Duration = Duration::from_secs(1);
const LOOK_LONGEST: Duration = Duration::from_mins(1);

pub struct TaskActor;

impl Actor for TaskActor {
    type Msg = Envelope<TaskMsg>;
    type State = TaskState;
    type Arguments = TaskArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<TaskMsg>>,
        args: TaskArgs,
    ) -> Result<TaskState, ActorProcessingErr> {
        let key = ActorKey::tasks(args.worker.id());
        let myself = Address::new(myself, args.gauge.clone());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(args.worker.id())),
            ActorKind::Task,
            args.worker.name.clone(),
        );
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.ports.clock.boottime_ms();
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        let shown = Shown {
            table: args.table.clone(),
            key,
            incarnation: args.incarnation,
            clock: args.ports.clock.clone(),
            turns: Arc::default(),
        };
        let (credential, right) = watch::channel(args.credential.clone());
        let site = Site {
            worker: args.worker.id().clone(),
            directory: args.worker.directory.clone(),
            settings: args.worker.tasks.clone(),
        };
        let workshop = args.ports.workshops.open(&site);
        let mut state = TaskState {
            shown: shown.clone(),
            myself: myself.clone(),
            credential,
            calls: Calls::default(),
            git: workshop.git.clone(),
            tasks: Tasks::default(),
            _card: guard,
        };
        let queue = LinkQueue::new(args.link, right).until_empty(site.settings.max_retries);
        let deps = Deps {
            gate: Gate {
                queue: Arc::new(queue),
                closed: state.calls.drain.clone(),
            },
            workshop,
            clock: args.ports.clock.clone(),
            parent: args.parent,
            worker: ActorKey::worker(args.worker.id()),
            name: args.worker.name.clone(),
            shown: shown.clone(),
        };
        let settings = LoopSettings {
            branch_prefix: site.settings.git.branch_prefix.clone(),
            ..LoopSettings::default()
        };
        let calls = state.calls.clone();
        let work = work(deps, settings, calls, args.turnstile);
        state.tasks.spawn(async move {
            // A panic in here would otherwise be nobody's.
            let message = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) => TaskMsg::Ended,
                Err(panic) => TaskMsg::Crashed(words_of(&*panic)),
            };
            let _ = myself.cast(message);
        });
        state.tasks.spawn(shown.count_turns());
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<TaskMsg>>,
        message: Envelope<TaskMsg>,
        state: &mut TaskState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        match message {
            TaskMsg::Renew(credential) => {
                state.credential.send_replace(credential);
            }
            TaskMsg::Drain => state.drain(),
            TaskMsg::Look => {
                state.git.accept();
                state.calls.look.notify_one();
            }
            TaskMsg::Stop => state.stop(),
            TaskMsg::Ended => state.myself.stop(),
            TaskMsg::Crashed(error) => return Err(error.into()),
            #[cfg(debug_assertions)]
            TaskMsg::Fault(fault) => fault.strike(&state.shown.key).await?,
        }
        Ok(())
    }
}

impl TaskState {
    /// What has begun goes on; what only waits for its turn in the directory has not begun.
    fn drain(&self) {
        self.calls.drain.cancel();
        let card = self.shown.table.get(&self.shown.key);
        if card.is_some_and(|card| matches!(card.phase, Phase::Waiting | Phase::Blocked)) {
            self.calls.stop.cancel();
        }
    }

    fn stop(&self) {
        self.calls.drain.cancel();
        self.calls.stop.cancel();
        self.shown.stopping();
    }
}

/// Loop after loop, until there is nothing to do. One that is blocked is looked at again and again.
async fn work(deps: Deps, settings: LoopSettings, calls: Calls, turnstile: Arc<Semaphore>) {
    let Ok(_alone) = turnstile.acquire_owned().await else {
        return;
    };
    let mut pause = LOOK_FIRST;
    let mut told = None;
    loop {
        let why = match run_loop(&deps, &settings, calls.stop.clone()).await {
            LoopEnd::Stopped => return,
            LoopEnd::Blocked(why) => why,
        };
        if told.as_ref() != Some(&why) {
            warn!(worker = deps.name, %why, "tasks cannot go on");
            // The same trouble in other words (a path, a number) is no reason for haste.
            let kind = std::mem::discriminant(&why);
            if told.as_ref().map(std::mem::discriminant) != Some(kind) {
                pause = LOOK_FIRST;
            }
            told = Some(why.clone());
        }
        if !free_again(&deps, &calls, &why, &mut pause).await {
            return;
        }
    }
}

/// Waits until the loop may go on. `false`: it is not to go on.
async fn free_again(deps: &Deps, calls: &Calls, why: &Blocked, pause: &mut Duration) -> bool {
    let mut why = why.to_string();
    loop {
        deps.shown.stand(Phase::Blocked, &why);
        tokio::select! {
            biased;
            () = calls.stop.cancelled() => return false,
            () = calls.drain.cancelled() => return false,
            () = calls.look.notified() => {}
            // Asked for anew with each look: the right to ask may be another by then.
            () = deps.queue().news() => {}
            () = tokio::time::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(LOOK_LONGEST);
        let found = tokio::select! {
            biased;
            () = calls.stop.cancelled() => return false,
            found = obstacle(deps) => found,
        };
        let Some(obstacle) = found else {
            info!(worker = deps.name, "tasks are tried again");
            return true;
        };
        why = obstacle;
    }
}

/// The most frequent reasons. To look at them costs the deployment nothing; a loop that is tried would take a task and give
/// it back. While the journal has something to undo or to bring to its end, the tree may well be the task's: only the loop
/// can tell.
async fn obstacle(deps: &Deps) -> Option<String> {
    if !matches!(deps.journal().read().await, Ok(None)) {
        return None;
    }
    if let Err(why) = deps.runner().ready().await {
        return Some(why);
    }
    match deps.git().is_clean().await {
        Ok(found) => found.obstacle(),
        Err(error) => Some(error.to_string()),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the task loop panicked: {}", said.unwrap_or("no message"))
}
