//! The door of the queue; the queue in its tree is tested in `tests/tree/tasks.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::domain::task::Entry;
use crate::ports::Pending;
use crate::ports::tasks::{Acknowledgement, Metrics, Pulled, Queue, QueueError, Task};
use crate::tasks::MemoryQueue;

#[tokio::test]
async fn a_closed_door_lets_no_task_in_and_every_word_out() {
    let queue = MemoryQueue::new(0);
    queue.add_tasks(["a", "b"]);
    let gate = Gate {
        queue: Arc::new(queue.clone()),
        closed: CancellationToken::new(),
    };
    let Ok(Pulled::Task(first)) = gate.pull(None).await else {
        panic!("no task");
    };
    gate.closed.cancel();
    let said = Acknowledgement::Returned("later".to_owned());
    gate.acknowledge(first, said, Metrics::default())
        .await
        .unwrap();
    assert!(matches!(gate.pull(None).await, Ok(Pulled::Ended)));
    assert_eq!(queue.remaining(), 2);
}

/// Its answers take a second.
struct Far(MemoryQueue);

impl Queue for Far {
    fn pull(&self, known: Option<Entry>) -> Pending<Result<Pulled, QueueError>> {
        let queue = self.0.clone();
        Box::pin(async move {
            let pulled = queue.pull(known).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            pulled
        })
    }

    fn acknowledge(
        &self,
        task: Task,
        what: Acknowledgement,
        metrics: Metrics,
    ) -> Pending<Result<(), QueueError>> {
        self.0.acknowledge(task, what, metrics)
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_on_its_way_when_the_door_was_closed_goes_back_uncounted() {
    let queue = MemoryQueue::new(0);
    queue.add_tasks(["a"]);
    let gate = Gate {
        queue: Arc::new(Far(queue.clone())),
        closed: CancellationToken::new(),
    };
    let pulling = tokio::spawn(gate.pull(None));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(queue.remaining(), 0, "it is on its way");
    gate.closed.cancel();
    assert!(matches!(pulling.await.unwrap(), Ok(Pulled::Ended)));
    assert_eq!(queue.remaining(), 1);
    let Ok(Pulled::Task(again)) = queue.pull(None).await else {
        panic!("no task");
    };
    assert_eq!(again.attempt, 1);
}
