//! The mutations of one socket: run strictly one at a time, in the order they came. Each keeps the identity it came
//! under. Bounded in number and in bytes: while there is no room, the socket is not read, and TCP tells the client.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::{Call, SessionRequest};

pub(super) struct QueuedMutation {
    pub(super) request: u32,
    /// Or why it can never be run.
    pub(super) run: Result<(Call, SessionRequest), String>,
    bytes: usize,
}

impl QueuedMutation {
    pub(super) fn new(
        request: u32,
        run: Result<(Call, SessionRequest), String>,
        bytes: usize,
    ) -> Self {
        Self {
            request,
            run,
            bytes,
        }
    }
}

#[derive(Default)]
pub(super) struct MutationQueue {
    waiting: VecDeque<QueuedMutation>,
    waiting_bytes: usize,
    running_since: Option<Instant>,
}

impl MutationQueue {
    pub(super) fn push(&mut self, mutation: QueuedMutation) {
        self.waiting_bytes += mutation.bytes;
        self.waiting.push_back(mutation);
    }

    /// The next one to run, unless one is running.
    pub(super) fn next(&mut self) -> Option<QueuedMutation> {
        if self.running_since.is_some() {
            return None;
        }
        let mutation = self.waiting.pop_front()?;
        self.waiting_bytes -= mutation.bytes;
        Some(mutation)
    }

    pub(super) fn started(&mut self) {
        self.running_since = Some(Instant::now());
    }

    pub(super) fn finished(&mut self) {
        self.running_since = None;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running_since.is_none()
    }

    /// Whether one more may come, whatever its size.
    pub(super) fn has_room(&self, mutations: usize, bytes: usize) -> bool {
        self.waiting.len() < mutations && self.waiting_bytes <= bytes
    }

    pub(super) fn running_since(&self) -> Option<Instant> {
        self.running_since
    }
}
