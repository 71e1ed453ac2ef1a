//! A transition as it goes over the wire. One that is too large for the stock clients' frame limit is sent as several
//! at the same timestamp, each starting where the one before ended; a client sees their union a moment later.

use convex_sync_types::{LogLinesMessage, QueryId, ServerMessage, StateModification, StateVersion};
use serde_json::Value;

use super::fit::Fitted;
use super::messages;
use crate::clock::now_ns;

/// Braces, names and ids of one modification, generously.
const ENVELOPE: usize = 512;

/// What one transition changes.
pub(super) struct Changes {
    start: StateVersion,
    end: StateVersion,
    modifications: Vec<(usize, StateModification<Value>)>,
}

impl Changes {
    pub(super) fn new(start: StateVersion, end: StateVersion) -> Self {
        Self {
            start,
            end,
            modifications: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.modifications.is_empty()
    }

    pub(super) fn removed(&mut self, query_id: QueryId) {
        let removed = StateModification::QueryRemoved { query_id };
        self.modifications.push((ENVELOPE, removed));
    }

    pub(super) fn result(&mut self, query_id: QueryId, fitted: Fitted) {
        let log_lines = LogLinesMessage(fitted.log_lines);
        let modification = match fitted.result {
            Ok(value) => StateModification::QueryUpdated {
                query_id,
                value,
                log_lines,
                journal: None,
            },
            Err(error) => StateModification::QueryFailed {
                query_id,
                error_message: error.message,
                log_lines,
                journal: None,
                error_data: error.data,
            },
        };
        self.modifications
            .push((fitted.bytes + ENVELOPE, modification));
    }

    /// The messages to send, in order; at least one.
    pub(super) fn into_messages(
        self,
        clock_skew: Option<i64>,
        limit: usize,
    ) -> Vec<ServerMessage<Value>> {
        let mut parts = vec![Vec::new()];
        let mut filled = 0;
        for (bytes, modification) in self.modifications {
            if filled > 0 && filled + bytes > limit {
                parts.push(Vec::new());
                filled = 0;
            }
            filled += bytes;
            if let Some(part) = parts.last_mut() {
                part.push(modification);
            }
        }
        let mut start = self.start;
        let mut messages = Vec::with_capacity(parts.len());
        for modifications in parts {
            messages.push(ServerMessage::Transition {
                start_version: start,
                end_version: self.end,
                modifications,
                client_clock_skew: clock_skew,
                server_ts: Some(messages::timestamp(now_ns())),
            });
            start = self.end;
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn version(query_set: u32, ts: u64) -> StateVersion {
        StateVersion {
            query_set,
            identity: 0,
            ts: messages::timestamp(ts),
        }
    }

    #[test]
    fn a_large_transition_is_a_chain_of_small_ones() {
        let mut changes = Changes::new(version(0, 0), version(1, 5));
        for query in 0..3 {
            let fitted = Fitted::new(Ok(json!("x".repeat(900))), Vec::new(), 1000);
            changes.result(QueryId::new(query), fitted);
        }
        let messages = changes.into_messages(Some(1), 2000);
        let mut expected_start = version(0, 0);
        let mut queries = 0;
        assert_eq!(messages.len(), 3);
        for message in messages {
            let ServerMessage::Transition {
                start_version,
                end_version,
                modifications,
                client_clock_skew,
                server_ts,
            } = message
            else {
                panic!("not a transition");
            };
            assert_eq!(
                (start_version, end_version),
                (expected_start, version(1, 5))
            );
            assert!(client_clock_skew.is_some() && server_ts.is_some());
            expected_start = end_version;
            queries += modifications.len();
        }
        assert_eq!(queries, 3);
    }

    #[test]
    fn an_empty_transition_is_one_message() {
        let changes = Changes::new(version(0, 0), version(1, 5));
        assert_eq!(changes.into_messages(None, 10).len(), 1);
    }
}
