//! How soon a session whose OpenCode was killed under a turn has its next one: from the moment in which its lease was free until
//! the start was begun. Both are lines of the supervisor's own log, so nothing that measures stands in the way. What waits on
//! purpose is left out: the time in the queues for a place and a boot slot, which the log tells, and starts after a backoff,
//! because the session had crashed within the minute before.

use std::path::Path;
use std::time::Duration;

use crate::figures::Figure;
use crate::stage::Stage;

/// A session's first crash after so long is followed by its restart at once.
const HEALTHY: i64 = 60_000_000;
/// The youngest is the one without a number.
const OLDER: usize = 4;

struct Line {
    at_us: i64,
    text: String,
}

impl Line {
    fn of(text: &str) -> Option<Self> {
        let (time, rest) = text.split_once(' ')?;
        let at: jiff::Timestamp = time.parse().ok()?;
        Some(Self {
            at_us: at.as_microsecond(),
            text: rest.to_owned(),
        })
    }

    /// The value of a field, without quotes.
    fn field(&self, name: &str) -> Option<&str> {
        let mut words = self.text.split_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"'))
    }

    fn says(&self, what: &str, session: &str) -> bool {
        self.text.contains(what) && self.field("session") == Some(session)
    }

    fn is_crash_of(&self, session: &str) -> bool {
        let kinds = [
            "assistant ended",
            "assistant failed",
            "assistant did not start",
            "session crashed",
        ];
        kinds.iter().any(|kind| self.says(kind, session))
    }
}

pub fn measure(stage: &Stage) {
    let lines = log(&stage.home.state().join("logs"));
    let killed = stage.killed.lock().unwrap().clone();
    let took: Vec<_> = killed
        .iter()
        .filter_map(|pid| respawn(&lines, *pid))
        .collect();
    for time in &took {
        stage.figures.took(Figure::FreeToRespawn, *time);
    }
    let line = format!(
        "{} of {} killed OpenCodes had a successor without a backoff",
        took.len(),
        killed.len()
    );
    stage.verdict.note(&line);
}

fn log(folder: &Path) -> Vec<Line> {
    let older = (1..=OLDER)
        .rev()
        .map(|number| format!("orchestrator.log.{number}"));
    let files = older.chain(["orchestrator.log".to_owned()]);
    let texts = files.filter_map(|name| std::fs::read_to_string(folder.join(name)).ok());
    texts
        .flat_map(|text| text.lines().filter_map(Line::of).collect::<Vec<_>>())
        .collect()
}

fn respawn(lines: &[Line], pid: u32) -> Option<Duration> {
    let pid = pid.to_string();
    let is_end =
        |line: &Line| line.text.contains("lease is free") && line.field("pid") == Some(&pid);
    let at = lines.iter().rposition(is_end)?;
    let (freed, session) = (lines[at].at_us, lines[at].field("session")?);
    let earlier = lines[..at].iter().rev();
    let mut recent = earlier.take_while(|line| line.at_us > freed - HEALTHY);
    if recent.any(|line| line.is_crash_of(session)) {
        return None;
    }
    let mut later = lines[at..].iter();
    let begun = later.find(|line| line.says("opencode is being started", session))?;
    let waited: u64 = begun.field("waited_ms")?.parse().ok()?;
    let took = u64::try_from(begun.at_us - freed).ok()?;
    // In whole milliseconds, rounded down: what is left is never too short.
    Some(Duration::from_micros(took.saturating_sub(waited * 1_000)))
}
