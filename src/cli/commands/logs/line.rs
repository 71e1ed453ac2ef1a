//! One line of a log: which ones are wanted, and how it looks. What an assistant or a deployment said is shown without its control
//! characters: a log is no way to write to somebody's terminal.

use owo_colors::OwoColorize;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Level;
use crate::ui::format::printable;

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Line {
    #[serde(rename = "timestamp", default)]
    time: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// Which lines to show.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub since: Option<String>,
    pub level: Option<Level>,
    pub session: Option<String>,
    /// Names and ids of one worker.
    pub workers: Vec<String>,
    /// What is known to belong to it.
    pub sessions: Vec<String>,
}

impl Wanted {
    pub fn takes(&self, line: &Line) -> bool {
        self.since.as_ref().is_none_or(|since| line.time >= *since)
            && self.level.is_none_or(|level| line.level() >= level)
            && self
                .session
                .as_ref()
                .is_none_or(|id| line.is_of_session(id))
            && (self.workers.is_empty() || self.is_of_worker(line))
    }

    fn is_of_worker(&self, line: &Line) -> bool {
        let named = [line.field("worker"), line.actor("worker")];
        let session = [line.field("session"), line.actor("session")];
        let is_one_of = |words: [Option<&str>; 2], known: &[String]| {
            let mut words = words.into_iter().flatten();
            words.any(|word| known.iter().any(|one| one == word))
        };
        is_one_of(named, &self.workers) || is_one_of(session, &self.sessions)
    }
}

impl Line {
    /// A line that is none of ours (another version's, or cut by a full disk) is kept as a message.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim().is_empty() {
            return None;
        }
        Some(serde_json::from_str(text).unwrap_or_else(|_| Self {
            fields: Map::from_iter([("message".to_owned(), text.into())]),
            ..Self::default()
        }))
    }

    fn level(&self) -> Level {
        match self.level.as_str() {
            "TRACE" => Level::Trace,
            "DEBUG" => Level::Debug,
            "WARN" => Level::Warn,
            "ERROR" => Level::Error,
            _ => Level::Info,
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    fn actor(&self, kind: &str) -> Option<&str> {
        self.field("actor")?.strip_prefix(kind)?.strip_prefix('/')
    }

    fn is_of_session(&self, start: &str) -> bool {
        let ids = [self.field("session"), self.actor("session")];
        let start = start.trim_end_matches('…');
        ids.into_iter().flatten().any(|id| {
            id.starts_with(start)
                || id
                    .strip_prefix("session_")
                    .is_some_and(|id| id.starts_with(start))
        })
    }

    fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }

    /// For people: their own time, and the fields behind the message.
    pub fn text(&self) -> String {
        let mut text = format!("{} {} ", self.local_time(), self.painted_level());
        text.push_str(&printable(self.message()));
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != "message") {
            let value = match value {
                Value::String(text) if text.is_empty() => "\"\"".to_owned(),
                Value::String(text) if text.contains(char::is_whitespace) => format!("{text:?}"),
                Value::String(text) => printable(text),
                other => other.to_string(),
            };
            text.push_str(&format!("  {}={value}", name.dimmed()));
        }
        text
    }

    pub fn is_of_task(&self, task: &str) -> bool {
        self.field("task") == Some(task)
    }

    /// For programs.
    pub fn json(&self) -> String {
        self.value().to_string()
    }

    pub fn value(&self) -> Value {
        let mut fields = self.fields.clone();
        let message = fields.remove("message").unwrap_or_default();
        json!({
            "schema": 1,
            "time": self.time,
            "level": self.level.to_lowercase(),
            "target": self.target,
            "message": message,
            "fields": fields,
        })
    }

    /// What an assistant printed, and which one when there may be several.
    pub fn raw(&self, named: bool) -> String {
        let text = printable(self.message());
        match self.field("session") {
            Some(id) if named => {
                let id = id.strip_prefix("session_").unwrap_or(id);
                format!("{} {text}", id.dimmed())
            }
            _ => text,
        }
    }

    fn local_time(&self) -> String {
        let Ok(time) = self.time.parse::<jiff::Timestamp>() else {
            return "                   ".to_owned();
        };
        let time = time.to_zoned(jiff::tz::TimeZone::system());
        time.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn painted_level(&self) -> String {
        let word = format!("{:5}", self.level.to_lowercase());
        match self.level() {
            Level::Error => word.red().to_string(),
            Level::Warn => word.yellow().to_string(),
            _ => word.dimmed().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text).unwrap()
    }

    const STUCK: &str = r#"{"timestamp":"2026-11-20T09:00:00.000001Z","level":"WARN","fields":{"message":"actor is stuck","actor":"session/session_ab12","for_ms":5000},"target":"orchestrator_actors"}"#;

    #[test]
    fn lines_are_taken_by_time_level_session_and_worker() {
        let stuck = line(STUCK);
        let wanted = |change: &dyn Fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            wanted.takes(&stuck)
        };
        assert!(wanted(&|_| ()));
        assert!(wanted(
            &|w| w.since = Some("2026-11-20T09:00:00.000000Z".to_owned())
        ));
        assert!(!wanted(
            &|w| w.since = Some("2026-11-20T09:00:00.000002Z".to_owned())
        ));
        assert!(wanted(&|w| w.level = Some(Level::Warn)));
        assert!(!wanted(&|w| w.level = Some(Level::Error)));
        for start in ["ab1", "session_ab12"] {
            assert!(wanted(&|w| w.session = Some(start.to_owned())));
        }
        assert!(!wanted(&|w| w.session = Some("b12".to_owned())));
        assert!(!wanted(&|w| w.workers = vec!["shop".to_owned()]));
        assert!(wanted(&|w| {
            w.workers = vec!["shop".to_owned()];
            w.sessions = vec!["session_ab12".to_owned()];
        }));
    }

    #[test]
    fn a_line_is_read_by_people_and_by_programs() {
        let text = anstream::adapter::strip_str(&line(STUCK).text()).to_string();
        assert!(
            text.ends_with(" warn  actor is stuck  actor=session/session_ab12  for_ms=5000"),
            "{text}"
        );
        let value: Value = serde_json::from_str(&line(STUCK).json()).unwrap();
        assert_eq!(value["message"], "actor is stuck");
        assert_eq!(value["fields"]["for_ms"], 5000);
        assert_eq!(line("of another version").message(), "of another version");
    }

    #[test]
    fn what_an_assistant_prints_does_not_reach_the_terminals_controls() {
        let said =
            line(r#"{"fields":{"message":"\u001b[2Jhello\u0007","session":"session_ab12"}}"#);
        assert_eq!(said.raw(false), "\u{fffd}[2Jhello\u{fffd}");
        let named = anstream::adapter::strip_str(&said.raw(true)).to_string();
        assert!(named.starts_with("ab12 "), "{named}");
    }
}
