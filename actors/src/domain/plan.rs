//! Desired against actual: what a worker has to do about a snapshot. Pure, so a worker that restarts with no
//! memory at all comes to the same actions from the same snapshot.

use std::collections::BTreeMap;

use super::ids::SessionId;
use super::inbox::{Inbox, OpenState, OpenTurn, SessionStatus, WorkerState};

/// What the worker has for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actual {
    /// An actor is there and takes messages.
    Live,
    /// It crashed and waits for its restart.
    BackingOff,
    /// It crashed too often.
    Parked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is no actor for this session: start one, then hand it the turn.
    Start(OpenTurn),
    /// Hand the turn to the session's actor (it may know it already).
    Serve(OpenTurn),
    /// Nothing is open for this live session any more.
    Relax(SessionId),
    /// The session is parked: close its turn with the reason.
    Refuse(OpenTurn),
    /// The owner ended the session: stop its actor, then say so.
    End(SessionId),
    /// The deployment believes that we run an assistant for this session, and we do not: say `idle`.
    SayIdle(SessionId),
    /// The deployment believes that a session is served, and it is parked: say `failed`.
    SayFailed(SessionId),
    /// The owner ended a session that has no actor: say so.
    SayEnded(SessionId),
    /// The owner ended a session that has no actor: none is started for it, and its turn is closed.
    Forget(SessionId, Option<OpenTurn>),
    /// The worker may not serve: stop everything.
    StopAll,
}

/// Turns of sessions that wait for their restart are left out: the restart asks for a fresh plan. So are, while the
/// worker is `paused`, those that nobody has claimed yet; a session that was handed one before goes on with it.
pub fn plan(inbox: &Inbox, actual: &BTreeMap<SessionId, Actual>, paused: bool) -> Vec<Action> {
    if inbox.displaced || inbox.state != WorkerState::Approved {
        return vec![Action::StopAll];
    }
    let mut actions = Vec::new();
    let is_taken = |turn: &OpenTurn| !paused || turn.state == OpenState::Claimed;
    let is_parked = |session: &SessionId| actual.get(session) == Some(&Actual::Parked);
    let is_live = |session: &SessionId| actual.get(session) == Some(&Actual::Live);
    let is_over = |session: &SessionId| {
        let mut sessions = inbox.sessions.iter();
        let served = sessions.find(|served| served.session_id == *session);
        !is_live(session) && served.is_some_and(|served| served.status == SessionStatus::Ended)
    };
    for turn in inbox
        .turns
        .iter()
        .filter(|turn| !is_over(&turn.session_id) && is_taken(turn))
    {
        match actual.get(&turn.session_id) {
            None => actions.push(Action::Start(turn.clone())),
            Some(Actual::Live) => actions.push(Action::Serve(turn.clone())),
            Some(Actual::Parked) => actions.push(Action::Refuse(turn.clone())),
            Some(Actual::BackingOff) => {}
        }
    }
    let has_turn = |session: &SessionId| inbox.turns.iter().any(|turn| turn.session_id == *session);
    for served in &inbox.sessions {
        let is_known = actual.contains_key(&served.session_id);
        match served.status {
            SessionStatus::Ended if is_live(&served.session_id) => {
                actions.push(Action::End(served.session_id.clone()));
            }
            SessionStatus::Ended if is_known || has_turn(&served.session_id) => {
                let mut turns = inbox.turns.iter();
                let turn = turns.find(|turn| turn.session_id == served.session_id);
                actions.push(Action::Forget(served.session_id.clone(), turn.cloned()));
            }
            SessionStatus::Ended => actions.push(Action::SayEnded(served.session_id.clone())),
            SessionStatus::Active if is_parked(&served.session_id) => {
                actions.push(Action::SayFailed(served.session_id.clone()));
            }
            _ if !is_known && !has_turn(&served.session_id) => {
                actions.push(Action::SayIdle(served.session_id.clone()));
            }
            _ => {}
        }
    }
    for (session, actual) in actual {
        if *actual == Actual::Live && !has_turn(session) {
            actions.push(Action::Relax(session.clone()));
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::super::inbox::ServedSession;
    use super::*;

    fn turn(session: &str) -> OpenTurn {
        OpenTurn {
            turn_id: format!("turn_{session}").as_str().into(),
            session_id: session.into(),
            state: OpenState::Queued,
            abort: false,
        }
    }

    fn inbox(turns: &[&str], sessions: &[(&str, SessionStatus)]) -> Inbox {
        Inbox {
            state: WorkerState::Approved,
            displaced: false,
            turns: turns.iter().map(|session| turn(session)).collect(),
            sessions: sessions
                .iter()
                .map(|(session, status)| ServedSession {
                    session_id: (*session).into(),
                    status: *status,
                })
                .collect(),
            requests: Vec::new(),
            commands: Vec::new(),
            tasks: false,
        }
    }

    #[test]
    fn a_worker_without_memory_starts_what_is_open_and_settles_what_is_not() {
        let inbox = inbox(
            &["a"],
            &[
                ("a", SessionStatus::Active),
                ("b", SessionStatus::Active),
                ("c", SessionStatus::Ended),
            ],
        );
        assert_eq!(
            plan(&inbox, &BTreeMap::new(), false),
            [
                Action::Start(turn("a")),
                Action::SayIdle("b".into()),
                Action::SayEnded("c".into())
            ]
        );
    }

    #[test]
    fn each_kind_of_actual_gets_its_action() {
        let actual = BTreeMap::from([
            ("a".into(), Actual::Live),
            ("b".into(), Actual::BackingOff),
            ("c".into(), Actual::Parked),
            ("d".into(), Actual::Live),
            ("e".into(), Actual::Live),
        ]);
        let inbox = inbox(&["a", "b", "c"], &[("d", SessionStatus::Ended)]);
        assert_eq!(
            plan(&inbox, &actual, false),
            [
                Action::Serve(turn("a")),
                Action::Refuse(turn("c")),
                Action::End("d".into()),
                Action::Relax("d".into()),
                Action::Relax("e".into())
            ]
        );
    }

    #[test]
    fn a_session_that_is_ended_while_it_waits_for_its_restart_is_forgotten_with_its_turn() {
        let actual = BTreeMap::from([
            ("a".into(), Actual::BackingOff),
            ("b".into(), Actual::Parked),
        ]);
        let ended = [("a", SessionStatus::Ended), ("b", SessionStatus::Ended)];
        assert_eq!(
            plan(&inbox(&["a"], &ended), &actual, false),
            [
                Action::Forget("a".into(), Some(turn("a"))),
                Action::Forget("b".into(), None)
            ]
        );
    }

    #[test]
    fn a_session_that_is_ended_and_has_no_actor_gets_none_for_the_turn_that_a_stale_snapshot_still_names()
     {
        let ended = [("a", SessionStatus::Ended)];
        assert_eq!(
            plan(&inbox(&["a"], &ended), &BTreeMap::new(), false),
            [Action::Forget("a".into(), Some(turn("a")))]
        );
    }

    #[test]
    fn a_parked_session_that_the_deployment_believes_to_be_served_is_said_to_have_failed() {
        let actual = BTreeMap::from([("a".into(), Actual::Parked), ("b".into(), Actual::Live)]);
        let served = [("a", SessionStatus::Active), ("b", SessionStatus::Active)];
        assert_eq!(
            plan(&inbox(&[], &served), &actual, false),
            [Action::SayFailed("a".into()), Action::Relax("b".into())]
        );
    }

    #[test]
    fn a_displaced_or_unapproved_worker_stops_everything() {
        let mut snapshot = inbox(&["a"], &[]);
        snapshot.displaced = true;
        assert_eq!(plan(&snapshot, &BTreeMap::new(), false), [Action::StopAll]);
        snapshot.displaced = false;
        snapshot.state = WorkerState::Revoked;
        assert_eq!(plan(&snapshot, &BTreeMap::new(), false), [Action::StopAll]);
    }

    #[test]
    fn a_paused_worker_goes_on_with_what_is_claimed_and_begins_nothing() {
        let mut inbox = inbox(&["a", "b", "c"], &[]);
        inbox.turns[0].state = OpenState::Claimed;
        let actual = BTreeMap::from([("a".into(), Actual::Live), ("b".into(), Actual::Live)]);
        let claimed = inbox.turns[0].clone();
        // Not even a `Relax` for "b": it may have begun to claim its turn.
        assert_eq!(plan(&inbox, &actual, true), [Action::Serve(claimed)]);
        let claimed = inbox.turns[0].clone();
        assert_eq!(
            plan(&inbox, &BTreeMap::new(), true),
            [Action::Start(claimed)]
        );
    }
}
