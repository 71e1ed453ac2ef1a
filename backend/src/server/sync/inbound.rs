//! What a client sends on its socket, message by message. `Connect` comes first and once; versions must fit; a function
//! call that cannot be understood is answered as a failed call, a message that cannot be understood is fatal.

use std::time::Instant;

use axum::extract::ws::{Message, close_code};
use convex_sync_types::types::SerializedArgs;
use convex_sync_types::{AuthenticationToken, ClientMessage, ServerMessage, Timestamp, UdfPath};
use tracing::debug;
use uuid::Uuid;

use super::connection::{Connection, End, Resuming, Session};
use super::messages;
use super::mutation_queue::QueuedMutation;
use crate::clock::now_ms;
use crate::engine::{Call, SessionRequest};
use crate::server::identity::AuthError;

/// However long re-sent mutations take, the first transition waits for no more than this many graces.
const LONGEST_RESUME: u32 = 100;

impl Connection {
    pub(super) fn receive(
        &mut self,
        frame: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        self.last_frame = Instant::now();
        match frame {
            Some(Ok(Message::Text(text))) => self.text(text.as_str()),
            Some(Ok(Message::Binary(_))) => {
                Err(self.fatal("received a binary message: the protocol is text"))
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) => Err(End::Gone("closed by the client")),
            Some(Err(error)) => Err(self.unreadable(&error)),
            None => Err(End::Gone("hung up")),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), End> {
        if text.len() > self.app.tuning.message_bytes {
            return Err(self.too_big());
        }
        let message = messages::parse(text).map_err(|detail| {
            // the detail may quote what was sent: for the sender only
            self.fatal(&detail);
            End::Close(
                close_code::PROTOCOL,
                "received an invalid message".to_owned(),
            )
        })?;
        match message {
            ClientMessage::Connect {
                session_id,
                connection_count,
                last_close_reason,
                max_observed_timestamp,
                client_ts,
            } => {
                debug!(connection_count, last_close_reason, "connected");
                let id = Uuid::from(session_id).to_string();
                self.connect(id, connection_count, max_observed_timestamp, client_ts)
            }
            _ if self.session.is_none() => Err(self.fatal("the first message must be Connect")),
            ClientMessage::ModifyQuerySet {
                base_version,
                new_version,
                modifications,
            } => self
                .queries
                .modify(base_version, new_version, modifications)
                .map_err(|error| self.fatal(&error.to_string())),
            ClientMessage::Authenticate {
                base_version,
                token,
            } => self.authenticate(base_version, token),
            ClientMessage::Mutation {
                request_id,
                udf_path,
                args,
                ..
            } => {
                self.mutation(request_id, udf_path, &args);
                Ok(())
            }
            ClientMessage::Action { request_id, .. } => {
                self.outbound.send(messages::action_refused(request_id));
                Ok(())
            }
            ClientMessage::Event(event) => {
                debug!(kind = event.event_type, "client event");
                Ok(())
            }
        }
    }

    fn connect(
        &mut self,
        id: String,
        connection_count: u32,
        observed: Option<Timestamp>,
        client_ts: Option<u64>,
    ) -> Result<(), End> {
        if self.session.is_some() {
            return Err(self.fatal("Connect was sent twice"));
        }
        if observed.is_some_and(|observed| u64::from(observed) > self.app.engine.latest_ts()) {
            // the store is older than what this client has seen; nothing it could be told would be true
            let reason = "this client has seen a later state than this deployment has".to_owned();
            return Err(End::Close(close_code::ERROR, reason));
        }
        // Stock clients leave Nagle on: what they send next waits for an acknowledgement that the kernel may hold back
        // for 40 ms, unless it can ride on something of ours.
        self.outbound.ping();
        let now = Instant::now();
        let grace = self.app.tuning.resume_grace;
        self.session = Some(Session {
            id,
            clock_skew: client_ts.map(clock_skew),
            resuming: (connection_count > 0).then(|| Resuming {
                quiet_at: now + grace,
                at_most_until: now + grace * LONGEST_RESUME,
            }),
        });
        Ok(())
    }

    fn authenticate(&mut self, base: u32, token: AuthenticationToken) -> Result<(), End> {
        self.queries
            .check_identity_base(base)
            .map_err(|error| self.fatal(&error.to_string()))?;
        let caller = match token {
            AuthenticationToken::User(token) => self.app.verifier.verify(&token).map(Some),
            AuthenticationToken::None => Ok(None),
            AuthenticationToken::Admin(..) => Err(AuthError::AdminKey),
        };
        match caller {
            Ok(caller) => {
                self.caller = caller;
                self.queries.identity_changed();
                Ok(())
            }
            Err(error) => Err(self.refuse_auth(base, &error, true)),
        }
    }

    fn mutation(&mut self, request: u32, path: UdfPath, args: &SerializedArgs) {
        let identity = self.identity();
        let grace = self.app.tuning.resume_grace;
        let Some(session) = &mut self.session else {
            return;
        };
        if let Some(resuming) = &mut session.resuming {
            resuming.quiet_at = Instant::now() + grace;
        }
        let record = SessionRequest {
            session_id: session.id.clone(),
            request_id: request,
        };
        let run = messages::arguments(args).map(|args| {
            let path = messages::canonical(path);
            let call = Call {
                path,
                args,
                identity,
            };
            (call, record)
        });
        let bytes = args.heap_size();
        self.mutations
            .push(QueuedMutation::new(request, run, bytes));
    }

    fn fatal(&mut self, reason: &str) -> End {
        self.outbound.send(ServerMessage::FatalError {
            error_message: reason.to_owned(),
        });
        End::Close(close_code::PROTOCOL, reason.to_owned())
    }

    fn unreadable(&mut self, error: &axum::Error) -> End {
        // the WebSocket crate below axum is not ours to name; its capacity errors say this
        let text = error.to_string();
        if text.contains("too long") || text.contains("Space limit") {
            return self.too_big();
        }
        debug!(error = text, "cannot read");
        End::Gone("cannot be read")
    }

    fn too_big(&mut self) -> End {
        let limit = self.app.tuning.message_bytes >> 20;
        End::Close(
            close_code::SIZE,
            format!("message too large: the limit is {limit} MiB"),
        )
    }
}

/// How far the client's clock is ahead of ours (ms).
fn clock_skew(client_ts: u64) -> i64 {
    let now = now_ms().cast_signed();
    // the wire carries an i64
    (client_ts.cast_signed()).saturating_sub(now)
}
