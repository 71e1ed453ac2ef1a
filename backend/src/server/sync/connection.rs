//! One socket, from its first frame to its close: reads messages, gives work to the engine, sends what comes back.
//!
//! Rules it keeps: a mutation's response goes out before the transition that shows it; every mutation is followed by a
//! transition, failed ones too (clients wait for it); at most one transition is being computed and one unsent; nothing is
//! started or read while too much is unsent, and a client that then takes nothing is dropped; an error of ours closes the
//! socket, `FatalError` (which ends npm clients for good) is only for a client that broke the protocol.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::ws::{Message, close_code};
use convex_sync_types::ServerMessage;
use futures_util::{Sink, Stream, StreamExt};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::mutation_queue::MutationQueue;
use super::outbound::Outbound;
use super::query_set::{Plan, QuerySet};
use crate::server::app::App;
use crate::server::engine_thread::{Command, EngineEvent, Generation, QueryRun};
use crate::server::identity::{AuthError, Verified};
use crate::server::subscriptions::ConnectionId;

/// Close codes that axum does not name.
pub(super) const SERVICE_RESTART: u16 = 1012;
pub(super) const TRY_AGAIN_LATER: u16 = 1013;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody is listening any more.
    Gone(&'static str),
    Close(u16, String),
}

/// What `Connect` said.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) clock_skew: Option<i64>,
    /// After a reconnect, the re-sent mutations are answered before the first transition: stock clients stumble over
    /// an answer to what a transition has already settled.
    pub(super) resuming: Option<Resuming>,
}

pub(super) struct Resuming {
    /// Nothing more of the first burst is expected after this.
    pub(super) quiet_at: Instant,
    pub(super) at_most_until: Instant,
}

pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) app: Arc<App>,
    generation: Generation,
    events: mpsc::UnboundedReceiver<EngineEvent>,
    pub(super) outbound: Outbound,
    pub(super) session: Option<Session>,
    pub(super) caller: Option<Verified>,
    pub(super) queries: QuerySet,
    pub(super) mutations: MutationQueue,
    pub(super) transition: Option<Underway>,
    /// More is unsent than may be: since when, and what had been written then.
    crowded: Option<(Instant, usize)>,
    pub(super) last_frame: Instant,
    opened: Instant,
}

/// A transition on its way.
pub(super) struct Underway {
    pub(super) plan: Plan,
    /// In the engine since then. `None`: what is left is run when the client has taken what came before.
    pub(super) asked: Option<Instant>,
    pub(super) left: Vec<QueryRun>,
}

/// Tells the engine's thread, however the connection ends.
struct Detach(ConnectionId, Generation);

impl Drop for Detach {
    fn drop(&mut self) {
        // no thread, nothing to forget
        let _ = self.1.commands.send(Command::Detach(self.0));
    }
}

/// Over a WebSocket; over anything that carries messages in the tests.
pub(super) async fn serve<S>(socket: S, app: Arc<App>, generation: Generation)
where
    S: Stream<Item = Result<Message, axum::Error>> + Sink<Message> + Unpin + Send + 'static,
{
    let id = app.next_connection();
    tracing::Span::current().record("id", id.0);
    let (events_in, events) = mpsc::unbounded_channel();
    let attach = Command::Attach {
        connection: id,
        events: events_in,
    };
    // a dead thread cancels the generation's token, which ends the loop below
    let _ = generation.commands.send(attach);
    let _detach = Detach(id, generation.clone());
    let (sink, mut frames) = socket.split();
    let mut connection = Connection {
        id,
        outbound: Outbound::over(sink, app.tuning.write_timeout),
        queries: QuerySet::new(app.tuning.queries),
        app,
        generation,
        events,
        session: None,
        caller: None,
        mutations: MutationQueue::default(),
        transition: None,
        crowded: None,
        last_frame: Instant::now(),
        opened: Instant::now(),
    };
    let end = connection.run(&mut frames).await;
    let Connection { outbound, app, .. } = connection;
    match end {
        End::Gone(why) => {
            debug!(why, "socket gone");
            outbound.abandon();
        }
        End::Close(code, reason) => {
            info!(code, reason, "closing a socket");
            let limit = app.tuning.goodbye;
            outbound.close(code, &reason, limit).await;
            // what the client still sends is read and dropped: closing over unread data would reset the
            // connection, and with it our close frame
            let _ = tokio::time::timeout(limit, async {
                while let Some(Ok(_)) = frames.next().await {}
            })
            .await;
        }
    }
}

impl Connection {
    async fn run<F>(&mut self, frames: &mut F) -> End
    where
        F: Stream<Item = Result<Message, axum::Error>> + Unpin,
    {
        let mut tick = tokio::time::interval(self.app.tuning.websocket_ping);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.reset();
        let stop = self.app.stop.clone();
        let ended = self.generation.ended.clone();
        loop {
            let resume_at = match self.pump() {
                Ok(resume_at) => resume_at,
                Err(end) => return end,
            };
            let handled = tokio::select! {
                frame = frames.next(), if self.may_read() => self.receive(frame),
                Some(event) = self.events.recv() => self.engine_said(event),
                () = self.outbound.changed() => Ok(()),
                () = sleep_until(resume_at) => Ok(()),
                _ = tick.tick() => self.tick(),
                () = stop.cancelled() => {
                    Err(End::Close(close_code::AWAY, "the deployment is stopping".to_owned()))
                }
                () = ended.cancelled() => {
                    Err(End::Close(SERVICE_RESTART, "the deployment is restarting".to_owned()))
                }
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Starts whatever can be started. Answers when it wants to be called again although nothing happened.
    fn pump(&mut self) -> Result<Option<Instant>, End> {
        if self.outbound.is_broken() {
            return Err(End::Gone("cannot be written"));
        }
        let crowded = self.look_at_the_reader()?;
        if self.caller.as_ref().is_some_and(Verified::has_ended) {
            return Err(self.refuse_auth(
                self.queries.identity_version(),
                &AuthError::Expired,
                false,
            ));
        }
        // everything that happened up to this timestamp is in the channel, see `EngineHandle::latest_ts`
        let ts = self.app.engine.latest_ts();
        while let Ok(event) = self.events.try_recv() {
            self.engine_said(event)?;
        }
        if let Some(until) = crowded {
            return Ok(Some(until));
        }
        self.start_mutation();
        if let Some(until) = self.still_resuming() {
            return Ok(Some(until));
        }
        if self.outbound.unsent_transitions() < 2 {
            self.start_transition(ts);
        }
        Ok(None)
    }

    /// Until when a client to whom too much is unsent has to take something: it may be quick, and the one who sent too
    /// much at once may be us.
    fn look_at_the_reader(&mut self) -> Result<Option<Instant>, End> {
        let tuning = &self.app.tuning;
        if self.outbound.unsent_bytes() <= tuning.unsent_bytes {
            self.crowded = None;
            return Ok(None);
        }
        let (now, written) = (Instant::now(), self.outbound.written());
        let (since, _) = match self.crowded {
            Some(crowded) if crowded.1 == written => crowded,
            _ => *self.crowded.insert((now, written)),
        };
        let until = since + tuning.slow_reader;
        if now >= until {
            let unsent = self.outbound.unsent_bytes();
            let reason = format!(
                "reads too slowly: nothing of {unsent} unsent bytes was taken in {:?}",
                tuning.slow_reader
            );
            self.outbound.skip_to_close();
            return Err(End::Close(TRY_AGAIN_LATER, reason));
        }
        Ok(Some(until))
    }

    /// Everything that is only a matter of time.
    fn tick(&mut self) -> Result<(), End> {
        if !self.may_read() {
            // its silence is ours
            self.last_frame = Instant::now();
        }
        let tuning = &self.app.tuning;
        if self.last_frame.elapsed() > tuning.client_silence {
            return Err(End::Close(
                close_code::NORMAL,
                "no sign of life from the client".to_owned(),
            ));
        }
        if self.session.is_none() && self.opened.elapsed() > tuning.connect_timeout {
            return Err(End::Close(
                close_code::POLICY,
                "no Connect from the client".to_owned(),
            ));
        }
        let waiting = [
            self.mutations.running_since(),
            self.transition.as_ref().and_then(|it| it.asked),
        ];
        for since in waiting.into_iter().flatten() {
            if since.elapsed() > tuning.call_timeout {
                return Err(End::Close(
                    close_code::ERROR,
                    "the deployment takes too long".to_owned(),
                ));
            }
        }
        self.outbound.ping();
        if self.outbound.silent_for() >= tuning.message_ping {
            self.outbound.send(ServerMessage::Ping);
        }
        Ok(())
    }

    pub(super) fn refuse_auth(&mut self, base: u32, error: &AuthError, update: bool) -> End {
        info!(%error, "identity refused");
        self.outbound.send(ServerMessage::AuthError {
            error_message: error.to_string(),
            base_version: Some(base),
            auth_update_attempted: Some(update),
        });
        End::Close(close_code::POLICY, error.to_string())
    }

    pub(super) fn identity(&self) -> Option<crate::engine::Identity> {
        self.caller.as_ref().map(|caller| caller.identity.clone())
    }

    /// Reading stops while too much is waiting, so that TCP holds the client back. To close the socket instead would
    /// help nobody: clients connect again and send everything that is unanswered again, for ever.
    fn may_read(&self) -> bool {
        let tuning = &self.app.tuning;
        self.crowded.is_none()
            && self
                .mutations
                .has_room(tuning.queued_mutations, tuning.queued_mutation_bytes)
    }

    /// A dead thread cancels the generation's token, which ends the loop.
    pub(super) fn tell_engine(&self, command: Command) {
        let _ = self.generation.commands.send(command);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
