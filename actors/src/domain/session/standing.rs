//! What the deployment shows of a session, kept true: after every input the machine compares how the session stands with
//! what it said last. So no path has to remember it, whichever way a child or a turn has gone; a person who looks sees
//! `active` only while a child is there or a turn waits for one, and `failed` for as long as the session is parked.

use super::machine::{Child, SessionMachine};
use super::{Effect, Saying};

impl SessionMachine {
    pub(super) fn tell_the_deployment(&mut self, out: &mut Vec<Effect>) {
        if self.said == Some(Saying::Ended) {
            return;
        }
        if self.ledger.is_parked() {
            let reason = self.parked_reason();
            return self.say(Saying::Failed, Some(reason), out);
        }
        if self.child == Child::Up {
            return self.say(Saying::Active, None, out);
        }
        let is_over = self.child == Child::None && (self.turn.is_none() || self.closing.is_some());
        // An incarnation that has said nothing yet may have inherited an `active` from one that fell.
        if is_over && (self.said.is_some() || self.was_asked) {
            self.say(Saying::Idle, None, out);
        }
    }

    /// The deployment failed to take it: it is said again, if it still holds.
    pub(super) fn unsaid(&mut self, saying: Saying) {
        if self.said == Some(saying) && saying != Saying::Ended {
            self.said = None;
        }
    }

    /// Says it unless that is what was said last.
    pub(super) fn say(&mut self, saying: Saying, reason: Option<String>, out: &mut Vec<Effect>) {
        if self.said != Some(saying) {
            self.said = Some(saying);
            out.push(Effect::Say(saying, reason));
        }
    }
}
