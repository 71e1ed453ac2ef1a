//! The tasks of one actor: aborted when the actor's state is dropped, however the actor ended.

use tokio::task::{AbortHandle, JoinSet};

/// A set of tasks that does not outlive its owner.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
}

impl Tasks {
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        while self.set.try_join_next().is_some() {}
        self.set.spawn(task)
    }

    /// Until all of them are done.
    pub async fn finish(mut self) {
        while self.set.join_next().await.is_some() {}
    }
}
