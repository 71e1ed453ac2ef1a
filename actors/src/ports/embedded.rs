//! The embedded deployment, as the tree sees it: somebody else starts and stops it (it is up before the tree and down
//! after it) and keeps its engine alive; the tree watches and shows.

use super::Pending;
use crate::domain::ids::DeploymentUrl;
use crate::domain::phase::Phase;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedStatus {
    pub phase: Phase,
    /// How often its engine was started again.
    pub restarts: u32,
    /// Kept until it is no longer worth showing.
    pub last_error: Option<String>,
}

pub trait Embedded: Send + Sync + 'static {
    fn url(&self) -> DeploymentUrl;

    /// For people: where its data is.
    fn detail(&self) -> String;

    /// Reports the status now and at every change, until it is down.
    fn follow(&self, report: Box<dyn Fn(EmbeddedStatus) + Send + Sync>) -> Pending<()>;
}
