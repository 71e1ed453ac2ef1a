//! An assistant that plays a role: started once with a prompt, left alone until it ends or has to. Any tool that the
//! machine has; implemented by `src/adapters/roles`, scripted in tests.
//!
//! Who holds the lease of a role owns its child, as with a session's; dropping a [`Player`] closes its lifeline, and its
//! warden ends every descendant.

use super::Pending;
use crate::domain::assistant::{AgentError, ExitReport};
use crate::domain::command::Casting;
use crate::domain::ids::{WorkerDir, WorkerId};

/// Starts assistants of any kind.
pub trait Roles: Send + Sync + 'static {
    /// Finds the tool, takes the lease, sweeps, starts the child. Dropping the future ends what it had started.
    fn start(&self, spec: RoleSpec) -> Pending<Result<Box<dyn Player>, AgentError>>;
}

#[derive(Clone, Debug)]
pub struct RoleSpec {
    pub worker: WorkerId,
    pub casting: Casting,
    /// The assistant works in this directory or below it, and nowhere else.
    pub inside: WorkerDir,
}

/// A running assistant.
pub trait Player: Send + Sync + 'static {
    fn pid(&self) -> u32;

    /// Resident memory of the child's process, 0 when unknown.
    fn rss_bytes(&self) -> u64;

    /// Resolves when the child and everything below it are gone. Can be asked for any number of times.
    fn exited(&self) -> Pending<ExitReport>;

    /// TERM, a grace, KILL of every descendant; done when none is left. Idempotent.
    fn stop(&self) -> Pending<()>;
}
