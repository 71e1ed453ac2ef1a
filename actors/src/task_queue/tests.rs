//! The door of the queue; the queue in its tree is tested in `tests/tree/tasks.rs`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::ports::tasks::{Acknowledgement, Metrics, Pulled, Queue};
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
