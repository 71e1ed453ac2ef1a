//! The actor: messages to inputs, inputs through the machine, its effects to `effects.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::warn;

use super::messages::SessionMsg;
use super::state::{SessionArgs, SessionState};
use crate::domain::session::{Input, SessionMachine};
use crate::ports::agent::Waiting;
use crate::ports::link::Credential;
use crate::supervision::{Address, Envelope, Tasks};
use crate::table::{ActorCard, ActorKey, ActorKind, CardGuard};

/// How often timers are looked at while there is something to time.
const TICK: Duration = Duration::from_millis(200);

pub struct SessionActor;

impl Actor for SessionActor {
    type Msg = Envelope<SessionMsg>;
    type State = SessionState;
    type Arguments = SessionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Envelope<SessionMsg>>,
        args: SessionArgs,
    ) -> Result<SessionState, ActorProcessingErr> {
        let key = ActorKey::session(&args.session);
        let myself = Address::new(myself, args.gauge.clone());
        let mut card = ActorCard::new(
            key.clone(),
            Some(ActorKey::worker(args.worker.id())),
            ActorKind::Session,
            args.session.as_str(),
        );
        card.incarnation = args.incarnation;
        card.restarts = args.restarts;
        card.since_ms = args.ports.clock.boottime_ms();
        card.gauge = args.gauge.clone();
        args.table.put(card);
        let machine = SessionMachine::new(
            args.session.clone(),
            args.boot_id.clone(),
            args.limits.clone(),
        )
        .in_incarnation(args.incarnation);
        let guard = CardGuard::new(args.table.clone(), key.clone(), args.incarnation);
        #[cfg(debug_assertions)]
        args.table.start_faults.meet(&key).await?;
        let first = args.first.clone();
        let state = SessionState {
            args,
            myself: myself.clone(),
            machine,
            tasks: Tasks::default(),
            child: None,
            opening: None,
            waiting: Waiting::default(),
            child_number: 0,
            ticking: None,
            _card: guard,
        };
        // Without a turn its worker's plan follows, which knows whether there is one.
        if first.is_some() {
            myself.cast(SessionMsg::Wanted(first))?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Envelope<SessionMsg>>,
        message: Envelope<SessionMsg>,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        let (message, _handling) = message.open();
        let myself = state.myself.clone();
        match message {
            SessionMsg::Wanted(open) => state.feed(&myself, Input::Wanted(open)),
            SessionMsg::RequestEnded(key) => state.feed(&myself, Input::RequestEnded(key)),
            SessionMsg::Release => state.feed(&myself, Input::Release),
            SessionMsg::Restart => state.feed(&myself, Input::Restart),
            SessionMsg::Wake => state.feed(&myself, Input::Wake),
            SessionMsg::Close(closing) => state.feed(&myself, Input::Close(closing)),
            SessionMsg::Renew(credential) => state.renew(credential),
            SessionMsg::Configure(change) => state.machine.configure(change),
            SessionMsg::ChildOpened { child, result } => state.child_opened(&myself, child, result),
            SessionMsg::ChildSaid {
                child,
                input,
                credit,
            } => {
                drop(credit);
                state.child_said(&myself, child, input);
            }
            SessionMsg::DeploymentSaid(input) => state.feed(&myself, input),
            SessionMsg::Tick => state.feed(&myself, Input::Tick),
            #[cfg(debug_assertions)]
            SessionMsg::Fault(fault) => {
                fault
                    .strike(&ActorKey::session(&state.args.session))
                    .await?;
            }
        }
        Ok(())
    }
}

impl SessionState {
    /// Feeds the machine and does what it says, until it says nothing more.
    pub(super) fn feed(&mut self, myself: &Address<SessionMsg>, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.args.ports.clock.monotonic_ms();
            if let Some(error) = input.failure() {
                warn!(session = %self.args.session, %error, "assistant failed");
            }
            for effect in self.machine.on(input, now, rand::random()) {
                if let Some(next) = self.perform(myself, effect) {
                    inputs.push_back(next);
                }
            }
        }
        self.keep_ticking(myself);
        self.show();
    }

    /// The streams that are open are kept and written under the new right.
    fn renew(&mut self, credential: Credential) {
        for turn in self.machine.streaming() {
            let link = &self.args.link;
            link.open_stream(turn.clone(), credential.clone(), 0);
        }
        self.args.credential = credential;
    }

    fn keep_ticking(&mut self, myself: &Address<SessionMsg>) {
        let needed = self.machine.has_timers();
        match (&self.ticking, needed) {
            (None, true) => {
                let myself = myself.clone();
                self.ticking = Some(self.tasks.spawn(async move {
                    let mut interval = tokio::time::interval(TICK);
                    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                    loop {
                        interval.tick().await;
                        if myself.cast(SessionMsg::Tick).is_err() {
                            return;
                        }
                    }
                }));
            }
            (Some(ticking), false) => {
                ticking.abort();
                self.ticking = None;
            }
            _ => {}
        }
    }

    fn show(&self) {
        let view = self.machine.view();
        let pid = self.child.as_ref().map(|child| child.agent.pid());
        let now = self.args.ports.clock.boottime_ms();
        self.args
            .table
            .change(&ActorKey::session(&self.args.session), |card| {
                if card.incarnation != self.args.incarnation {
                    return;
                }
                if card.phase != view.phase {
                    card.since_ms = now;
                }
                card.phase = view.phase;
                card.restarts = self.args.restarts + view.crashes;
                let waits = view
                    .waits_for
                    .map(|what| format!("waits for an answer: {what}"));
                let released = view
                    .released_for
                    .map(|reason| format!("given up: {reason}"));
                card.detail = self
                    .waiting
                    .get()
                    .or(waits)
                    .or(view.refused)
                    .or(released)
                    .unwrap_or_default();
                card.last_error = view.last_error;
                card.turn = view.turn.map(|turn| turn.to_string());
                card.chunks = view.items;
                card.turns = view.turns_served;
                card.agent_pid = pid;
                if pid.is_none() {
                    card.agent_rss_bytes = None;
                }
            });
    }
}
