//! The queue with a door: once it is closed no further task is taken, while the one in hand can still be spoken about.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::task::Entry;
use crate::ports::Pending;
use crate::ports::tasks::{Acknowledgement, Metrics, Pulled, Queue, QueueError, Task};

#[derive(Clone)]
pub(super) struct Gate {
    pub queue: Arc<dyn Queue>,
    pub closed: CancellationToken,
}

impl Queue for Gate {
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>> {
        if known.is_some() {
            return self.queue.pull(known);
        }
        let gate = self.clone();
        Box::pin(async move {
            if gate.closed.is_cancelled() {
                return Ok(Pulled::Ended);
            }
            let pulled = gate.queue.pull(None);
            tokio::select! {
                biased;
                pulled = pulled => pulled,
                () = gate.closed.cancelled() => Ok(Pulled::Ended),
            }
        })
    }

    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        metrics: Metrics,
    ) -> Pending<Result<(), QueueError>> {
        self.queue.acknowledge(task, what, metrics)
    }
}
