//! Every period, bound and limit of the server in one place. The defaults are what the official clients expect
//! (they give up on a silent server after 30 s); tests shorten them.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Tuning {
    /// A WebSocket ping this often. Also how often a connection looks at its other clocks.
    pub websocket_ping: Duration,
    /// `{"type":"Ping"}` after this much silence of ours: browsers do not see WebSocket pings.
    pub message_ping: Duration,
    /// A socket without any frame from the client for this long is dropped.
    pub client_silence: Duration,
    /// A mutation or query batch that the engine does not answer within this closes the socket; an HTTP request gets 503.
    pub call_timeout: Duration,
    /// A peer that takes nothing of what is written to it for this long is dropped.
    pub write_timeout: Duration,
    /// A connection without a whole request header for this long is closed, also between two requests.
    pub header_timeout: Duration,
    /// The body of an HTTP call must be here within this.
    pub body_timeout: Duration,
    /// A socket that has not said `Connect` within this is closed.
    pub connect_timeout: Duration,
    /// After a reconnect, how long the re-sent mutations are answered ahead of the first transition.
    pub resume_grace: Duration,
    /// Largest message a client may send; it is told so when it sends more.
    pub message_bytes: usize,
    /// Largest encoded result of one query or mutation.
    pub result_bytes: usize,
    /// A transition larger than this is sent in several: stock clients die of a frame of 16 MiB.
    pub transition_bytes: usize,
    /// Mutations waiting on one socket; at that number, the socket is not read until one has run.
    pub queued_mutations: usize,
    /// Bytes of mutations waiting on one socket; above it, the socket is not read until some have run.
    pub queued_mutation_bytes: usize,
    /// Queries one socket may hold.
    pub queries: usize,
    /// Results of one run of a socket's queries; the others are run when the client has taken these.
    pub part_bytes: usize,
    /// Bytes written but not yet taken by the client; above it, nothing more is started or read.
    pub unsent_bytes: usize,
    /// Above it, a client that takes nothing for this long is closed.
    pub slow_reader: Duration,
    /// Open TCP connections; the next one waits in the listen queue.
    pub connections: usize,
    /// HTTP calls being run at a time.
    pub http_calls: usize,
    /// Bytes of large HTTP bodies held at a time: once for callers that have shown a token, once for all others.
    pub http_bodies: usize,
    /// How long `stop` waits for sockets to say goodbye, and then for the engine.
    pub goodbye: Duration,
    pub engine_stop: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            websocket_ping: Duration::from_secs(5),
            message_ping: Duration::from_secs(15),
            client_silence: Duration::from_mins(2),
            call_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_mins(1),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            resume_grace: Duration::from_millis(20),
            message_bytes: 20 << 20,
            result_bytes: (16 << 20) - (64 << 10),
            transition_bytes: (16 << 20) - (32 << 10),
            queued_mutations: 1000,
            queued_mutation_bytes: 64 << 20,
            queries: 4096,
            part_bytes: 8 << 20,
            unsent_bytes: 96 << 20,
            slow_reader: Duration::from_secs(10),
            connections: 1024,
            http_calls: 64,
            http_bodies: 128 << 20,
            goodbye: Duration::from_secs(1),
            engine_stop: Duration::from_secs(10),
        }
    }
}
