//! The one ordered queue out of a socket, and the task that writes it. The connection never waits for a slow reader:
//! it looks at what is unsent, holds back transitions at two and everything at a bound of bytes, and closes the socket when
//! nothing is taken there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use bytes::Bytes;
use convex_sync_types::ServerMessage;
use futures_util::{Sink, SinkExt};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::debug;

use super::messages;

/// Frames written before a flush, and bytes: a write that has ended is what tells a quick reader from a slow one.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Unsent {
    bytes: AtomicUsize,
    transitions: AtomicUsize,
    /// Writes that have ended.
    written: AtomicUsize,
    /// The writer has given up.
    broken: AtomicBool,
    /// What is queued before the close frame is too much to be waited for.
    skip_to_close: AtomicBool,
    changed: Notify,
}

struct Outgoing {
    message: Message,
    bytes: usize,
    transition: bool,
}

pub(super) struct Outbound {
    queue: mpsc::UnboundedSender<Outgoing>,
    unsent: Arc<Unsent>,
    writer: JoinHandle<()>,
    last_text: Instant,
}

impl Outbound {
    pub(super) fn over<S>(sink: S, write_timeout: Duration) -> Self
    where
        S: Sink<Message> + Unpin + Send + 'static,
    {
        let (queue, outgoing) = mpsc::unbounded_channel();
        let unsent = Arc::new(Unsent::default());
        let writer = tokio::spawn(write(sink, outgoing, Arc::clone(&unsent), write_timeout));
        Self {
            queue,
            unsent,
            writer,
            last_text: Instant::now(),
        }
    }

    pub(super) fn send(&mut self, message: ServerMessage<Value>) {
        let transition = matches!(message, ServerMessage::Transition { .. });
        let text = messages::encode(message);
        self.last_text = Instant::now();
        self.push(text.len(), transition, Message::Text(Utf8Bytes::from(text)));
    }

    pub(super) fn ping(&mut self) {
        self.push(0, false, Message::Ping(Bytes::new()));
    }

    /// Since the last message that a browser can see.
    pub(super) fn silent_for(&self) -> Duration {
        self.last_text.elapsed()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.bytes.load(Ordering::Acquire)
    }

    pub(super) fn unsent_transitions(&self) -> usize {
        self.unsent.transitions.load(Ordering::Acquire)
    }

    /// Grows whenever the client has taken something.
    pub(super) fn written(&self) -> usize {
        self.unsent.written.load(Ordering::Acquire)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.unsent.broken.load(Ordering::Acquire)
    }

    /// Something was written, or writing has failed.
    pub(super) async fn changed(&self) {
        self.unsent.changed.notified().await;
    }

    /// What is queued will not be read in time: the close frame goes out in its place.
    pub(super) fn skip_to_close(&self) {
        self.unsent.skip_to_close.store(true, Ordering::Release);
    }

    /// Sends the close frame behind everything queued and waits for the writer, `limit` at most.
    pub(super) async fn close(mut self, code: u16, reason: &str, limit: Duration) {
        let frame = CloseFrame {
            code,
            reason: close_reason(reason).into(),
        };
        self.push(0, false, Message::Close(Some(frame)));
        let Self {
            queue, mut writer, ..
        } = self;
        drop(queue);
        if tokio::time::timeout(limit, &mut writer).await.is_err() {
            writer.abort();
        }
    }

    /// The client is gone: nothing more to say.
    pub(super) fn abandon(self) {
        self.writer.abort();
    }

    fn push(&mut self, bytes: usize, transition: bool, message: Message) {
        self.unsent.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.unsent
            .transitions
            .fetch_add(usize::from(transition), Ordering::AcqRel);
        // an error means a broken socket: the connection sees that flag and ends
        let _ = self.queue.send(Outgoing {
            message,
            bytes,
            transition,
        });
    }
}

/// A close frame holds 123 bytes of reason.
fn close_reason(reason: &str) -> String {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

async fn write<S>(
    mut sink: S,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    unsent: Arc<Unsent>,
    limit: Duration,
) where
    S: Sink<Message> + Unpin,
{
    while let Some(first) = outgoing.recv().await {
        let (mut bytes, mut transitions) = (0, 0);
        let batch = async {
            // a response and its transition go out in one write
            let mut next = Some(first);
            let mut fed = 0;
            while let Some(frame) = next {
                bytes += frame.bytes;
                transitions += usize::from(frame.transition);
                let is_close = matches!(frame.message, Message::Close(_));
                if is_close || !unsent.skip_to_close.load(Ordering::Acquire) {
                    sink.feed(frame.message).await.map_err(drop)?;
                }
                fed += 1;
                next = if fed < BATCH && bytes < BATCH_BYTES {
                    outgoing.try_recv().ok()
                } else {
                    None
                };
            }
            sink.flush().await.map_err(drop)
        };
        if !matches!(tokio::time::timeout(limit, batch).await, Ok(Ok(()))) {
            debug!("socket cannot be written");
            unsent.broken.store(true, Ordering::Release);
            unsent.changed.notify_one();
            return;
        }
        unsent.bytes.fetch_sub(bytes, Ordering::AcqRel);
        unsent.transitions.fetch_sub(transitions, Ordering::AcqRel);
        unsent.written.fetch_add(1, Ordering::AcqRel);
        unsent.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::PollSender;

    #[tokio::test]
    async fn a_reader_that_takes_nothing_breaks_the_socket_and_counts_as_unsent() {
        let (sink, mut reader) = mpsc::channel(1);
        let mut outbound = Outbound::over(PollSender::new(sink), Duration::from_millis(20));
        for _ in 0..4 {
            outbound.send(ServerMessage::Ping);
        }
        assert!(outbound.unsent_bytes() > 0);
        while !outbound.is_broken() {
            outbound.changed().await;
        }
        assert!(reader.recv().await.is_some());
    }

    #[test]
    fn a_close_reason_fits_into_its_frame() {
        assert_eq!(close_reason("short"), "short");
        assert_eq!(close_reason(&"é".repeat(100)).len(), 122);
    }
}
