//! The task loop: pull → clean? → branch → run → evidence of work → commit and push → clean? → acknowledge; on an error
//! clean up and acknowledge the failure. A library function over [`LooperDeps`]: it knows no deployment, no
//! repository and no assistant.
//!
//! Theory of operation. Every step is written into the journal before it begins, so a loop that is started after a kill
//! knows what was under way ([`crate::domain::task::Resume`]) and brings it to an end before it takes anything else. Until the work is
//! committed, whatever stops the loop undoes the attempt and gives the task back; from then on the work is kept and the
//! next start goes on with it. Trying a *task* again is the queue's decision, trying a *command* again the runner's
//! (and, for git over a network, [`step`]'s).

mod deps;
mod ending;
mod link_queue;
mod looper;
mod memory_queue;
mod progress;
mod resume;
mod step;
#[cfg(test)]
mod tests;

pub use deps::{Admission, LoopSettings, LooperDeps};
pub use link_queue::LinkQueue;
pub use looper::run_loop;
pub use memory_queue::{Acknowledged, MemoryQueue};
pub use progress::{Metrics, Progress, tell};
pub(crate) use step::LAST_WORDS;
