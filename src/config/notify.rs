//! What a worker's owner is told besides what a page or a terminal shows, and when: the keys `notify_*` of a worker and of
//! `defaults`. Nothing is told until one of them says how.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jsonc_parser::ast::Object;

use super::fields::{Reader, join};
use super::origin::Origin;
use super::time::Millis;

/// An answer that took this long is worth a word.
pub const DEFAULT_NOTIFY_AFTER_MS: Millis = 60_000;

/// Arguments of the command, besides itself.
const COMMAND_WORDS: usize = 32;

/// Each stands beside the worker's own keys and, for all of them, in `defaults`.
pub(super) const NOTIFY_KEYS: [&str; 5] = [
    "notify_desktop",
    "notify_push",
    "notify_command",
    "notify_after",
    "notify_quiet",
];

/// By key; the default's for what is not in it.
type Origins = BTreeMap<&'static str, Origin>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// By the desktop's own notifications.
    pub desktop: bool,
    /// To the paired devices that have asked for it on their page.
    pub push: bool,
    /// A program with its arguments, which never change; what there is to tell is on its stdin.
    pub command: Vec<String>,
    pub after_ms: Millis,
    pub quiet: Option<Quiet>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            desktop: false,
            push: false,
            command: Vec::new(),
            after_ms: DEFAULT_NOTIFY_AFTER_MS,
            quiet: None,
        }
    }
}

impl Notify {
    pub fn is_on(&self) -> bool {
        self.desktop || self.push || !self.command.is_empty()
    }
}

/// Hours of the local day in which nobody is told anything: `22:00-07:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// Minutes of the day.
    from: u16,
    to: u16,
}

const QUIET_HELP: &str = "must be two times of the day, such as \"22:00-07:00\"";

impl Quiet {
    /// Whether this minute of the day is one of them. From a time to the same time is the whole day.
    pub fn covers(self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

impl FromStr for Quiet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let (from, to) = text.split_once('-').ok_or(QUIET_HELP)?;
        match (time(from), time(to)) {
            (Some(from), Some(to)) => Ok(Self { from, to }),
            _ => Err(QUIET_HELP),
        }
    }
}

/// Where the keys of `object` stand, over where those stand that hold without them.
pub(super) fn origins(reader: &Reader<'_>, object: &Object<'_>, defaults: &Origins) -> Origins {
    let mut origins = defaults.clone();
    for key in NOTIFY_KEYS {
        if let Some(origin) = reader.origin(object, key) {
            origins.insert(key, origin);
        }
    }
    origins
}

/// The keys of `object`, over what holds without them.
pub(super) fn read(
    reader: &mut Reader<'_>,
    path: &str,
    object: &Object<'_>,
    defaults: &Notify,
) -> Notify {
    let mut notify = defaults.clone();
    if let Some(desktop) = reader.optional_bool(path, object, "notify_desktop") {
        notify.desktop = desktop;
    }
    if let Some(push) = reader.optional_bool(path, object, "notify_push") {
        notify.push = push;
    }
    if object.get("notify_command").is_some() {
        let words = reader.optional_strings(path, object, "notify_command");
        if words.len() > COMMAND_WORDS || words.first().is_some_and(|word| word.trim().is_empty()) {
            let range = super::fields::range_of(object, "notify_command");
            let message = format!(
                "must be a program and at most {} arguments",
                COMMAND_WORDS - 1
            );
            reader.problem(&join(path, "notify_command"), range, message);
        }
        notify.command = words;
    }
    if let Some(after) = reader.optional_millis(path, object, "notify_after") {
        notify.after_ms = after;
    }
    if let Some((text, range)) = reader.optional_string(path, object, "notify_quiet") {
        // Said to a worker for whom `defaults` has some.
        if text == "none" {
            notify.quiet = None;
        } else {
            match text.parse() {
                Ok(quiet) => notify.quiet = Some(quiet),
                Err(message) => reader.problem(&join(path, "notify_quiet"), range, message),
            }
        }
    }
    notify
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_go_over_midnight() {
        let night: Quiet = "22:00-07:30".parse().unwrap();
        for (hours, minutes, quiet) in [
            (22, 0, true),
            (23, 59, true),
            (0, 0, true),
            (7, 29, true),
            (7, 30, false),
            (21, 59, false),
        ] {
            assert_eq!(
                night.covers(hours * 60 + minutes),
                quiet,
                "{hours}:{minutes}"
            );
        }
        let noon: Quiet = "12:00-13:00".parse().unwrap();
        assert!(noon.covers(12 * 60) && !noon.covers(13 * 60) && !noon.covers(0));
        let always: Quiet = "08:00-08:00".parse().unwrap();
        assert!(always.covers(0) && always.covers(8 * 60));
        for text in ["", "22-7", "24:00-01:00", "1:60-2:00", "22:00"] {
            assert!(text.parse::<Quiet>().is_err(), "{text}");
        }
    }
}
