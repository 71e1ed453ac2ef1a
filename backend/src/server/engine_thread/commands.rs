//! What crosses between the connections and the engine's thread, both ways.
//!
//! A connection hears from the engine through one channel only: answers and staleness in the engine's own order. The
//! queues are not bounded by themselves but by their writers: a connection has one mutation and one batch of queries
//! under way, an HTTP call one command, and the engine sends one staleness per registered query.

use convex_sync_types::QueryId;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Call, MutationOutcome, QueryOutcome, SessionRequest};
use crate::server::subscriptions::ConnectionId;

pub(in crate::server) enum Command {
    /// Says where a connection's staleness goes. First command of every connection.
    Attach {
        connection: ConnectionId,
        events: mpsc::UnboundedSender<EngineEvent>,
    },
    /// Forgets `dropped`, then runs and watches `runs`, all at one timestamp, until they have come to about so many
    /// bytes. Answered by [`EngineEvent::Queried`].
    Queries {
        connection: ConnectionId,
        dropped: Vec<QueryId>,
        runs: Vec<QueryRun>,
        bytes: usize,
    },
    /// One query without a subscription; `at` an older timestamp.
    Query {
        call: Call,
        at: Option<u64>,
        reply: oneshot::Sender<Result<QueryOutcome, SnapshotGone>>,
    },
    Mutation {
        call: Call,
        record: Option<SessionRequest>,
        reply: MutationReply,
    },
    Detach(ConnectionId),
    Stop,
    #[cfg(debug_assertions)]
    Panic,
}

/// Where a mutation's outcome goes.
pub(in crate::server) enum MutationReply {
    Caller(oneshot::Sender<MutationOutcome>),
    /// As [`EngineEvent::Mutated`]; the record says which request it was.
    Connection(ConnectionId),
}

pub(in crate::server) struct QueryRun {
    pub(in crate::server) query: QueryId,
    pub(in crate::server) call: Call,
}

pub(in crate::server) enum EngineEvent {
    Queried {
        ts: u64,
        outcomes: Vec<(QueryId, QueryOutcome)>,
        /// What was not run for the bytes of the others.
        left: Vec<QueryRun>,
    },
    Mutated {
        request: u32,
        outcome: MutationOutcome,
    },
    /// A commit touched what this query has read; its registration is gone.
    Stale(QueryId),
}

/// What was read has been written since the timestamp asked for, or the timestamp is too old to tell.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the snapshot is gone: ask for a new timestamp and run the queries again")]
pub(in crate::server) struct SnapshotGone;
