//! Reading OpenCode's event stream. There is no replay, so a connection that ends, or says nothing for too long (its
//! heartbeat comes every 10 s), is made again at once, and who listens is told to catch up from the store.
//! An event above 1 MiB is skipped, not buffered; that, too, is told.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::api::Api;
use super::health::Pulse;
use super::wire::Event;

/// The most bytes of one event.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// What the reader tells.
#[derive(Debug)]
pub enum Input {
    Event(Box<Event>),
    /// The stream is up (`server.connected` was read).
    Connected,
    /// Events may be missing from here on.
    Lost,
}

/// Reads until nobody listens.
pub async fn read(api: Api, silence: Duration, pulse: Pulse, to: mpsc::Sender<Input>) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let connected = read_once(&api, silence, &pulse, &to).await;
        if to.send(Input::Lost).await.is_err() {
            return;
        }
        backoff = if connected {
            FIRST_BACKOFF
        } else {
            (backoff * 2).min(LAST_BACKOFF)
        };
        tokio::time::sleep(backoff).await;
    }
}

/// One connection. The answer is whether it was up.
async fn read_once(api: &Api, silence: Duration, pulse: &Pulse, to: &mpsc::Sender<Input>) -> bool {
    let Ok(response) = api.events().await else {
        return false;
    };
    let mut bytes = response.bytes_stream();
    let mut splitter = Splitter::default();
    let mut connected = false;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(silence, bytes.next()).await {
        pulse.felt();
        let mut inputs = Vec::new();
        splitter.feed(&piece, |event| {
            inputs.push(match event {
                Some(text) => match Event::parse(text) {
                    Some(Event::Connected) => Input::Connected,
                    Some(event) => Input::Event(Box::new(event)),
                    None => return,
                },
                None => Input::Lost,
            });
        });
        for input in inputs {
            let skipped = matches!(input, Input::Lost);
            connected |= matches!(input, Input::Connected);
            // Waits while the listener is behind: OpenCode then buffers, we do not.
            if to.send(input).await.is_err() {
                return connected;
            }
            // The stream goes on, but what was skipped has to be read from the store.
            if skipped && to.send(Input::Connected).await.is_err() {
                return connected;
            }
        }
    }
    connected
}

/// Cuts a byte stream into the data of its events, whatever the pieces are.
#[derive(Default)]
struct Splitter {
    line: Vec<u8>,
    data: Vec<u8>,
    too_long: bool,
}

impl Splitter {
    /// Gives each whole event's data, or `None` for one that was too long.
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Option<&str>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if self.line.len() + self.data.len() + text.len() > MAX_EVENT_BYTES {
                self.too_long = true;
                self.line.clear();
                self.data.clear();
            }
            // Of a skipped event only whether a line is empty matters.
            if !self.too_long {
                self.line.extend_from_slice(text);
            } else if !text.is_empty() && text != b"\r" {
                self.line = b"-".to_vec();
            }
            if ended {
                self.end_line(&mut each);
            }
        }
    }

    fn end_line(&mut self, each: &mut impl FnMut(Option<&str>)) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            if let Some(data) = line.strip_prefix(b"data:").filter(|_| !self.too_long) {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
            return;
        }
        if std::mem::take(&mut self.too_long) {
            each(None);
        } else if let Ok(text) = std::str::from_utf8(&self.data)
            && !text.is_empty()
        {
            each(Some(text));
        }
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<Option<String>> {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |event| events.push(event.map(str::to_owned)));
        }
        events
    }

    #[test]
    fn events_may_be_cut_anywhere_even_within_a_character() {
        let stream = "data: {\"a\":\"ä\"}\n\n: comment\n\ndata: 1\r\ndata: 2\r\n\r\n".as_bytes();
        let whole = events(&[stream]);
        assert_eq!(
            whole,
            [Some("{\"a\":\"ä\"}".to_owned()), Some("1\n2".to_owned())]
        );
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), whole);
    }

    #[test]
    fn an_event_that_is_too_long_is_skipped_and_told() {
        let mut stream = b"data: ".to_vec();
        stream.extend(std::iter::repeat_n(b'x', 3 * MAX_EVENT_BYTES));
        stream.extend_from_slice(b"\n\ndata: next\n\n");
        let pieces: Vec<&[u8]> = stream.chunks(70_000).collect();
        assert_eq!(events(&pieces), [None, Some("next".to_owned())]);
    }
}
