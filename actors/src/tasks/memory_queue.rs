//! A queue in memory: for tests and for programs that bring their own list of tasks. The product's queue lies in the
//! deployment and survives everything; this one survives nothing, and counts attempts by the same rule.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::ids::TaskId;
use crate::domain::task::Entry;
use crate::ports::Pending;
use crate::ports::tasks::{Acknowledgement, Artifact, Metrics, Pulled, Queue, QueueError, Task};

#[derive(Clone, Debug, Default)]
pub struct MemoryQueue {
    state: Arc<Mutex<State>>,
    retries: u32,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    current: Option<Task>,
    acknowledged: Vec<Acknowledged>,
    made: u64,
}

#[derive(Debug)]
struct Waiting {
    id: TaskId,
    description: String,
    attempt: u32,
}

/// One word of the loop about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub task: String,
    pub what: Acknowledgement,
}

impl Acknowledged {
    pub fn artifact(&self) -> Option<&Artifact> {
        match &self.what {
            Acknowledgement::Done(artifact) => Some(artifact),
            _ => None,
        }
    }
}

impl MemoryQueue {
    /// `retries`: further attempts at a task after its first one.
    pub fn new(retries: u32) -> Self {
        Self {
            state: Arc::default(),
            retries,
        }
    }

    pub fn add_tasks<S: Into<String>>(&self, tasks: impl IntoIterator<Item = S>) {
        let mut state = self.state();
        for description in tasks {
            state.made += 1;
            let id = TaskId::new(format!("task-{}", state.made));
            state.waiting.push_back(Waiting {
                id,
                description: description.into(),
                attempt: 1,
            });
        }
    }

    /// Tasks that wait; not the one in hand.
    pub fn remaining(&self) -> usize {
        self.state().waiting.len()
    }

    /// Everything the loop has said, in order.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.state().acknowledged.clone()
    }

    /// Calls the task in hand off.
    pub fn withdraw(&self) {
        if let Some(task) = &self.state().current {
            task.withdrawn.cancel();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Pulled {
        let mut state = self.state();
        if let Some(task) = &state.current {
            return Pulled::Task(task.clone());
        }
        let Some(waiting) = state.waiting.pop_front() else {
            return Pulled::Ended;
        };
        let task = Task {
            lease: format!("{}-{}", waiting.id, waiting.attempt),
            id: waiting.id,
            description: waiting.description,
            attempt: waiting.attempt,
            withdrawn: CancellationToken::new(),
        };
        state.current = Some(task.clone());
        Pulled::Task(task)
    }

    fn settle(&self, task: Task, what: Acknowledgement) -> Result<(), QueueError> {
        let mut state = self.state();
        if state.current.take_if(|held| held.id == task.id).is_none() {
            return Err(QueueError::Lost);
        }
        let again = match &what {
            Acknowledgement::Done(_) => None,
            Acknowledgement::Returned(_) => Some(task.attempt),
            Acknowledgement::Failed(failure) => (failure.class.worth_another_attempt()
                && task.attempt <= self.retries)
                .then_some(task.attempt + 1),
        };
        if let Some(attempt) = again {
            state.waiting.push_front(Waiting {
                id: task.id,
                description: task.description.clone(),
                attempt,
            });
        }
        state.acknowledged.push(Acknowledged {
            task: task.description,
            what,
        });
        Ok(())
    }
}

impl Queue for MemoryQueue {
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>> {
        let held = self.state().current.as_ref().map(|task| task.lease.clone());
        if known.is_some_and(|known| held != Some(known.lease)) {
            return Box::pin(async { Err(QueueError::Lost) });
        }
        let queue = self.clone();
        Box::pin(async move { Ok(queue.next()) })
    }

    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        _: Metrics,
    ) -> Pending<Result<(), QueueError>> {
        let queue = self.clone();
        Box::pin(async move { queue.settle(task, what) })
    }
}
