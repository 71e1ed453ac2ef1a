//! The worker's task queue: an actor that is there while there are tasks. The deployment's snapshot says when; after a start
//! the journal of a predecessor does, too. It is replaced when it crashes and parked when it keeps crashing, as a session is.

use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::messages::{TaskNews, WorkerMsg};
use super::state::{QueueEntry, WorkerState};
use crate::domain::inbox::WorkerState as Approval;
use crate::domain::ledger::{Intensity, RestartLedger, Verdict};
use crate::domain::phase::Phase;
use crate::session::SessionMsg;
use crate::supervision::{Address, ChildEnd, Gauge, next_incarnation};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};
use crate::task_queue::{TaskActor, TaskArgs, TaskMsg};

/// A queue that has found nothing although the snapshot names tasks is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl WorkerState {
    /// Once, with the first right to write: a task that a dead supervisor had in hand may be nobody's in the deployment,
    /// and its branch is still half made.
    pub(super) fn look_for_leftovers(&mut self, myself: &Address<WorkerMsg>) {
        if std::mem::replace(&mut self.looked, true) {
            return;
        }
        let left = self.args.ports.workshops.has_left(self.args.spec.id());
        let myself = myself.clone();
        self.tasks.spawn(async move {
            if left.await {
                let _ = myself.cast(WorkerMsg::Tasks(TaskNews::Left));
            }
        });
    }

    pub(super) async fn task_news(&mut self, myself: &Address<WorkerMsg>, news: TaskNews) {
        match news {
            TaskNews::Left => {
                self.left = true;
                self.serve_tasks(myself, true).await;
            }
            TaskNews::Look => self.serve_tasks(myself, false).await,
            TaskNews::Due => {
                let due = self.queue.as_ref();
                if due.is_some_and(|queue| queue.actor.is_none() && !queue.ledger.is_parked()) {
                    self.start_tasks(myself).await;
                }
            }
            TaskNews::Restart => self.restart_tasks(myself).await,
            TaskNews::DirectoryWanted => self.clear_the_directory(),
            #[cfg(debug_assertions)]
            TaskNews::Fault(fault) => {
                if let Some(actor) = self.queue.as_ref().and_then(|queue| queue.actor.as_ref()) {
                    let _ = actor.cast(TaskMsg::Fault(fault));
                }
            }
        }
    }

    fn may_do_tasks(&self) -> bool {
        let approved = self
            .inbox
            .as_ref()
            .is_some_and(|inbox| inbox.state == Approval::Approved && !inbox.displaced);
        approved
            && !self.stopping
            && self.credential.is_some()
            && self.args.spec.tasks.enabled
            && !self.args.spec.paused
    }

    fn has_tasks(&self) -> bool {
        self.left || self.inbox.as_ref().is_some_and(|inbox| inbox.tasks)
    }

    /// Starts the queue if there is something to do and nobody who does it. `news`: the deployment has just said so, and a
    /// queue that ends meanwhile may not have seen it.
    pub(super) async fn serve_tasks(&mut self, myself: &Address<WorkerMsg>, news: bool) {
        if !self.may_do_tasks() || !self.has_tasks() {
            return;
        }
        match &mut self.queue {
            Some(queue) if queue.actor.is_some() => queue.again |= news,
            Some(queue) if queue.fallen.is_some() => {}
            _ => self.start_tasks(myself).await,
        }
    }

    async fn start_tasks(&mut self, myself: &Address<WorkerMsg>) {
        if !self.may_do_tasks() {
            return;
        }
        let Some(credential) = self.credential.clone() else {
            return;
        };
        self.left = false;
        let queue = self
            .queue
            .get_or_insert_with(|| Box::new(QueueEntry::new()));
        queue.again = false;
        let gauge = Gauge::default();
        let args = TaskArgs {
            worker: self.args.spec.clone(),
            parent: myself.clone(),
            ports: self.args.ports.clone(),
            link: self.args.link.clone(),
            credential,
            turnstile: queue.turnstile.clone(),
            table: self.args.table.clone(),
            incarnation: next_incarnation(),
            gauge: gauge.clone(),
            restarts: queue.ledger.total(),
        };
        match TaskActor::spawn_linked(None, TaskActor, args, myself.cell()).await {
            Ok((actor, _)) => {
                queue.actor = Some(Address::new(actor, gauge));
                queue.fallen = None;
            }
            // Ractor reports nothing else of an actor that failed in its start.
            Err(error) => self.tasks_crashed(myself, error.to_string()),
        }
    }

    fn tell_tasks(&self, message: TaskMsg) {
        if let Some(actor) = self.queue.as_ref().and_then(|queue| queue.actor.as_ref()) {
            let _ = actor.cast(message);
        }
    }

    pub(super) fn renew_tasks(&self) {
        if let Some(credential) = &self.credential {
            self.tell_tasks(TaskMsg::Renew(credential.clone()));
        }
    }

    /// This worker may not serve, or ends.
    pub(super) fn stop_tasks(&mut self) {
        self.tell_tasks(TaskMsg::Stop);
        if let Some(queue) = &mut self.queue {
            queue.again = false;
            if queue.actor.is_none() && !queue.ledger.is_parked() {
                queue.fallen = None;
            }
        }
    }

    /// The task in hand goes on; another queue follows if it may, and then as it is configured now.
    pub(super) fn drain_tasks(&mut self) {
        self.tell_tasks(TaskMsg::Drain);
        if let Some(queue) = &mut self.queue {
            queue.again = true;
        }
    }

    pub(super) fn has_task_actor(&self) -> bool {
        self.queue
            .as_ref()
            .is_some_and(|queue| queue.actor.is_some())
    }

    /// Nothing happens when the actor was not the queue's.
    pub(super) async fn tasks_ended(&mut self, myself: &Address<WorkerMsg>, end: &ChildEnd) {
        let (ChildEnd::Stopped(id) | ChildEnd::Crashed(id, _)) = end;
        let Some(queue) = &mut self.queue else { return };
        if queue.actor.as_ref().is_none_or(|actor| actor.id() != *id) {
            return;
        }
        queue.actor = None;
        if let ChildEnd::Crashed(_, error) = end {
            return self.tasks_crashed(myself, error.clone());
        }
        if queue.again {
            return self.serve_tasks(myself, false).await;
        }
        // It may have been sent away while its work waited for somebody.
        self.looked = false;
        self.look_for_leftovers(myself);
        if self.may_do_tasks() && self.has_tasks() {
            // An old snapshot, most of the time: the next one corrects it.
            let myself = myself.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(LOOK_AGAIN).await;
                let _ = myself.cast(WorkerMsg::Tasks(TaskNews::Look));
            });
        }
    }

    fn tasks_crashed(&mut self, myself: &Address<WorkerMsg>, error: String) {
        let now = self.args.ports.clock.monotonic_ms();
        // What it had in hand lies in the journal.
        self.left = true;
        let Some(queue) = &mut self.queue else { return };
        queue.actor = None;
        if self.stopping {
            return;
        }
        let verdict = queue.ledger.on_crash(now, rand::random());
        let restarts = queue.ledger.total();
        warn!(worker = %self.args.spec.name, %error, restarts, ?verdict, "task queue crashed");
        let key = ActorKey::tasks(self.args.spec.id());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(self.args.spec.id())),
            ActorKind::Task,
            self.args.spec.name.clone(),
        );
        card.incarnation = next_incarnation();
        let guard = CardGuard::new(self.args.table.clone(), key, card.incarnation);
        let now = self.args.ports.clock.boottime_ms();
        self.args
            .table
            .put_fallen(card.fallen(verdict, restarts, error, now));
        queue.fallen = Some(guard);
        if let Verdict::Restart { after_ms } = verdict {
            let myself = myself.clone();
            self.tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                let _ = myself.cast(WorkerMsg::Tasks(TaskNews::Due));
            });
        }
    }

    async fn restart_tasks(&mut self, myself: &Address<WorkerMsg>) {
        let Some(queue) = &mut self.queue else { return };
        queue.ledger.forgive();
        match &queue.actor {
            // It would not hear of it.
            Some(actor) if actor.gauge().read().stuck.is_some() => actor.kill(),
            Some(_) => self.tell_tasks(TaskMsg::Look),
            None => self.start_tasks(myself).await,
        }
    }

    /// A task wants the directory: assistants that have no turn are stopped. Their sessions come back with their next one.
    fn clear_the_directory(&self) {
        for (session, card) in self.cards() {
            if card.phase == Phase::Ready {
                info!(%session, "child given up for a task");
                self.tell(&session, SessionMsg::Release);
            }
        }
    }
}

impl QueueEntry {
    fn new() -> Self {
        Self {
            actor: None,
            fallen: None,
            ledger: RestartLedger::new(Intensity::SESSION),
            turnstile: Arc::new(Semaphore::new(1)),
            again: false,
        }
    }
}
