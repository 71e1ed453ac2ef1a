//! How soon a session whose OpenCode was killed under a turn has its next one: from the moment in which its lease was free until
//! the start was begun. Both are lines of the supervisor's own log, so nothing that measures stands in the way. What waits on
//! purpose is left out: the time in the queues for a place and a boot slot, which the log tells, and starts after a backoff,
//! because the session had crashed within the minute before.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::figures::Figure;
use crate::stage::Stage;

/// A session's first crash after so long is followed by its restart at once.
const HEALTHY: i64 = 60_000_000;
/// The youngest is the one without a number.
const OLDER: usize = 4;

/// Some are killed in a moment in which the supervisor is killed, too, and writes nothing: so many of them are not.
const SURELY: usize = 3;

struct Line {
    at_us: i64,
    fields: Map<String, Value>,
}

impl Line {
    fn of(text: &str) -> Option<Self> {
        let mut line: Value = serde_json::from_str(text).ok()?;
        let at: jiff::Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        let Value::Object(fields) = line["fields"].take() else {
            return None;
        };
        Some(Self {
            at_us: at.as_microsecond(),
            fields,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    fn tells(&self, what: &str) -> bool {
        let message = self.text("message");
        message.is_some_and(|message| message.contains(what))
    }

    fn says(&self, what: &str, session: &str) -> bool {
        self.tells(what) && self.text("session") == Some(session)
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
    let pairs: Vec<_> = killed
        .iter()
        .filter_map(|pid| Pair::read(&lines, *pid))
        .collect();
    let at_once = pairs.iter().filter(|pair| !pair.is_held_back);
    let took: Vec<_> = at_once.filter_map(|pair| pair.took).collect();
    for time in &took {
        stage.figures.took(Figure::FreeToRespawn, *time);
    }
    let (free, found, all) = (took.len(), pairs.len(), killed.len());
    let line = format!(
        "{all} OpenCodes were killed, the log tells of {found} successors, {free} without a backoff"
    );
    stage.verdict.note(&line);
    if lines.is_empty() || (pairs.is_empty() && all >= SURELY) {
        let what = format!("{line}; {} lines of it can be read", lines.len());
        stage.verdict.wrong("respawn", what);
    }
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

/// A lease that was free again, and the start that followed.
struct Pair {
    /// The session had crashed shortly before, so its start waits on purpose.
    is_held_back: bool,
    took: Option<Duration>,
}

impl Pair {
    fn read(lines: &[Line], pid: u32) -> Option<Self> {
        let is_end =
            |line: &Line| line.tells("lease is free") && line.number("pid") == Some(u64::from(pid));
        let at = lines.iter().rposition(is_end)?;
        let (freed, session) = (lines[at].at_us, lines[at].text("session")?);
        let mut later = lines[at..].iter();
        let begun = later.find(|line| line.says("opencode is being started", session))?;
        let waited = begun.number("waited_ms")?;
        let earlier = lines[..at].iter().rev();
        let mut recent = earlier.take_while(|line| line.at_us > freed - HEALTHY);
        let took = u64::try_from(begun.at_us - freed).ok();
        Some(Self {
            is_held_back: recent.any(|line| line.is_crash_of(session)),
            // In whole milliseconds, rounded down: what is left is never too short.
            took: took.map(|took| Duration::from_micros(took.saturating_sub(waited * 1_000))),
        })
    }
}
