//! What goes to stderr is read by a person or kept by whoever started us, without a bound of ours: so many lines at once, then
//! one now and then, with the number of those that were left out. The log file has them all.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may come at once.
const BURST: u32 = 200;
/// How often one more may come after that.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Limited<W>(Arc<Mutex<Bucket<W>>>);

struct Bucket<W> {
    to: W,
    left: u32,
    since: Instant,
    dropped: u64,
}

impl<W> Limited<W> {
    pub fn new(to: W) -> Self {
        Self(Arc::new(Mutex::new(Bucket {
            to,
            left: BURST,
            since: Instant::now(),
            dropped: 0,
        })))
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Limited<W> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line(Arc::clone(&self.0))
    }
}

/// The writer of one line.
pub struct Line<W>(Arc<Mutex<Bucket<W>>>);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.line(line, Instant::now())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.to.flush()
    }
}

impl<W: Write> Bucket<W> {
    fn line(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        let earned = now.duration_since(self.since).as_secs() / EVERY.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.dropped += 1;
            return Ok(());
        }
        self.left -= 1;
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            writeln!(self.to, "… {dropped} more lines are in the log only")?;
        }
        self.to.write_all(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_repeats_for_ever_says_so_now_and_then() {
        let begun = Instant::now();
        let mut bucket = Bucket {
            to: Vec::new(),
            left: BURST,
            since: begun,
            dropped: 0,
        };
        // An hour of a hundred lines a second.
        for n in 0..360_000_u32 {
            let now = begun + Duration::from_millis(10) * n;
            bucket.line(b"again\n", now).unwrap();
        }
        let said = String::from_utf8(bucket.to).unwrap();
        let told = said.lines().filter(|line| *line == "again").count();
        assert!((900..=1_000).contains(&told), "{told}");
        assert!(
            said.contains("… 499 more lines are in the log only\n"),
            "{said}"
        );
    }
}
