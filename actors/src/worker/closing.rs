//! The worker closes turns that no session can take: of a parked session with the reason, of one that its owner ended
//! while it waited for its restart. A close that does not get through is made again; a snapshot that still names a closed
//! turn closes nothing twice.

use std::time::Duration;

use super::messages::WorkerMsg;
use super::sessions::parked_reason;
use super::state::WorkerState;
use crate::domain::ids::{SessionId, TurnId};
use crate::domain::inbox::{OpenState, OpenTurn};
use crate::domain::session::Saying;
use crate::domain::turn::{Ending, Outcome};
use crate::supervision::Address;

/// A turn that could not be closed is closed again after this time.
const CLOSE_AGAIN: Duration = Duration::from_secs(2);

impl WorkerState {
    /// The owner ended it while it had no actor: nothing brings it back.
    pub(super) fn forget(
        &mut self,
        myself: &Address<WorkerMsg>,
        session: &SessionId,
        turn: Option<&OpenTurn>,
    ) {
        self.sessions.remove(session);
        if let Some(turn) = turn {
            let ending = Ending::because(Outcome::Aborted, "ended", "the session was ended");
            self.close(myself, turn, ending);
        }
        self.say(session, Saying::Ended, None);
    }

    /// Closes the turn of a parked session with the reason.
    pub(super) fn refuse(&mut self, myself: &Address<WorkerMsg>, turn: &OpenTurn) {
        let reason = parked_reason(&turn.session_id);
        let ending = Ending::because(Outcome::Failed, "parked", reason);
        let ending = match turn.state {
            OpenState::Claimed => ending.provisionally(),
            OpenState::Queued => ending,
        };
        self.close(myself, turn, ending);
    }

    fn close(&mut self, myself: &Address<WorkerMsg>, turn: &OpenTurn, ending: Ending) {
        let Some(credential) = self.credential.clone() else {
            return;
        };
        if !self.closing.insert(turn.turn_id.clone()) {
            return;
        }
        let answer = self
            .args
            .link
            .finish(turn.turn_id.clone(), credential, ending);
        let (myself, turn) = (myself.clone(), turn.turn_id.clone());
        // The link owns the finish; whoever comes after this worker plans its turn anew.
        self.tasks.spawn(async move {
            if answer.await.is_err_and(|error| error.is_transient()) {
                tokio::time::sleep(CLOSE_AGAIN).await;
                let _ = myself.cast(WorkerMsg::CloseAgain(turn));
            }
        });
    }

    pub(super) async fn close_again(&mut self, myself: &Address<WorkerMsg>, turn: &TurnId) {
        self.closing.remove(turn);
        self.reconcile(myself).await;
    }
}
