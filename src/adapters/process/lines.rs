//! Draining a child's output. A pipe that nobody reads stops the child, and a line without an end must not
//! fill our memory: lines are cut at 64 KiB, the last fifty are kept for error reports, and a listener that
//! is slow loses lines, never the child its pipe. What is kept is free of the child's secrets before it is cut: the front
//! of a key is no less secret than the key.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::environment::{redacted, redacted_cut};

/// The most bytes kept of one line.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How many lines the ring keeps.
pub const RING_LINES: usize = 50;

/// The most bytes the ring keeps of one line: fifty long lines would still be megabytes for each child.
const RING_LINE_BYTES: usize = 2048;

/// The last lines of a child, stdout and stderr mixed as they came, without its secrets.
#[derive(Clone, Default)]
pub struct Ring {
    secrets: Arc<[String]>,
    lines: Arc<Mutex<VecDeque<String>>>,
}

/// Not what it must not show.
impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.lines()).finish()
    }
}

impl Ring {
    pub fn without(secrets: Vec<String>) -> Self {
        Self {
            secrets: secrets.into(),
            lines: Arc::default(),
        }
    }

    /// Gives back what it keeps of the line: nothing else of it may be shown or written.
    pub fn push(&self, line: &str) -> String {
        let mut line = if line.len() < MAX_LINE_BYTES {
            redacted(line, &self.secrets)
        } else {
            redacted_cut(line, &self.secrets)
        };
        let mut end = line.len().min(RING_LINE_BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        // Otherwise the room of the whole line stays with it.
        line.shrink_to_fit();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == RING_LINES {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        line
    }

    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Splitter {
    line: Vec<u8>,
}

impl Splitter {
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                each(self.take());
            }
        }
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        text.strip_suffix('\r').unwrap_or(&text).to_owned()
    }
}

/// Reads until the end, giving each line to `each` and the raw bytes to `raw`.
pub async fn drain(
    mut from: impl AsyncRead + Unpin,
    mut raw: impl FnMut(&[u8]),
    mut each: impl FnMut(String),
) {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                raw(&buffer[..count]);
                splitter.feed(&buffer[..count], &mut each);
            }
        }
    }
    if !splitter.line.is_empty() {
        each(splitter.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        drain(bytes, |_| {}, |line| lines.push(line)).await;
        lines
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends_and_the_last_needs_none() {
        assert_eq!(lines_of(b"a\r\n\nb").await, ["a", "", "b"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_the_next_one_is_whole() {
        let mut bytes = vec![b'x'; 3 * MAX_LINE_BYTES];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = lines_of(&bytes).await;
        assert_eq!(lines[0].len(), MAX_LINE_BYTES);
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn a_secret_across_the_cut_of_a_long_line_leaks_no_front_of_itself() {
        let secret = "sk-abcdefghijklmnop".to_owned();
        let ring = Ring::without(vec![secret.clone()]);
        for before in 0..=secret.len() {
            let line = format!("{}{secret} and more", "x".repeat(RING_LINE_BYTES - before));
            assert_eq!(Some(&ring.push(&line)), ring.lines().last());
        }
        // As the splitter cuts it.
        let line = format!("{}{secret}", secret.repeat(MAX_LINE_BYTES / secret.len()));
        ring.push(&line[..MAX_LINE_BYTES]);
        for line in ring.lines() {
            assert!(line.len() <= RING_LINE_BYTES);
            assert!(!line.contains("sk-") && !line.ends_with("sk"), "{line}");
        }
        assert!(!format!("{ring:?}").contains(&secret));
    }

    #[test]
    fn the_ring_keeps_the_last_lines_only() {
        let ring = Ring::default();
        for number in 0..120 {
            ring.push(&number.to_string());
        }
        let lines = ring.lines();
        assert_eq!(lines.len(), RING_LINES);
        assert_eq!(lines[0], "70");
    }
}
