//! What the tree needs from the outside world. `src/adapters` implements these traits; tests use fakes.

pub mod agent;
pub mod clock;
pub mod embedded;
pub mod git;
pub mod link;
pub mod outbox;
pub mod role;
pub mod tasks;

/// A boxed future, as the ports return them (they are used as trait objects).
pub type Pending<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'static>>;
