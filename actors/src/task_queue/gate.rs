//! The queue with a door: once it is closed no further task is taken, while the one in hand can still be spoken about.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::task::Entry;
use crate::ports::Pending;
use crate::ports::tasks::{Acknowledgement, Metrics, Pulled, Queue, QueueError, Task};
use crate::tasks::LAST_WORDS;

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
            let mut pulled = gate.queue.pull(None);
            tokio::select! {
                biased;
                pulled = &mut pulled => return pulled,
                () = gate.closed.cancelled() => {}
            }
            // What is on its way to us would otherwise be ours until its lease is over, and count as an attempt.
            let give_back = async {
                if let Ok(Pulled::Task(task)) = pulled.await {
                    let why = Acknowledgement::Returned("no further task is taken".to_owned());
                    let _ = gate.queue.acknowledge(task, why, Metrics::default()).await;
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, give_back).await;
            Ok(Pulled::Ended)
        })
    }

    fn news(&self) -> Pending<()> {
        self.queue.news()
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
