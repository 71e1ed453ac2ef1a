//! The task queue of one directory: runs the task loop ([`crate::tasks`]) beside its handlers, shows in its card where the
//! loop stands, and ends when the queue is empty. Its worker starts it when the deployment says that tasks wait, so a
//! worker without tasks has none. What is under way lies in the journal: a successor takes it up from there.
//!
//! Two loops never work in one directory: the loop holds its worker's turnstile, and a successor's begins when that is free.

mod actor;
mod deps;
mod gate;
mod messages;
mod show;
mod state;
#[cfg(test)]
mod tests;

pub use actor::TaskActor;
pub use messages::TaskMsg;
pub use state::TaskArgs;
