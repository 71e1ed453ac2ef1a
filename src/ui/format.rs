//! Numbers as people read them, and texts as a terminal may have them. Machines get raw values in JSON instead.

use std::borrow::Cow;
use std::time::Duration;

use orchestrator_actors::domain::plain_sight::reorders;

/// `850 ms`, `12s`, `3m`, `5h`, `2d`: one unit, rounded down.
pub fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `1.2 s`, `84 ms`.
pub fn duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// `412 MB`.
pub fn bytes(count: u64) -> String {
    const MB: u64 = 1024 * 1024;
    if count < MB {
        format!("{} kB", count / 1024)
    } else {
        format!("{} MB", count / MB)
    }
}

/// `4.1k`.
pub fn count(number: f64) -> String {
    if number < 1000.0 {
        format!("{number:.0}")
    } else {
        format!("{:.1}k", number / 1000.0)
    }
}

/// One line of what somebody else wrote (an assistant, a deployment), without what moves a cursor, changes a colour, talks to
/// the terminal, or shows a line in another order than it has.
pub fn printable(text: &str) -> String {
    without_controls(text, |c| c == '\t')
}

/// The same of a text of many lines.
pub fn printable_lines(text: &str) -> String {
    without_controls(text, |c| matches!(c, '\t' | '\n'))
}

/// A return before a line's end is that end's, so it goes without a trace, as any other return does.
fn without_controls(text: &str, is_fine: impl Fn(char) -> bool) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| {
            if (c.is_control() && !is_fine(c)) || reorders(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The last belt of everything that is printed: colours, which are mostly ours, and no other escape.
pub fn only_colours(text: &str) -> Cow<'_, str> {
    let is_fine = |c: char| !c.is_control() || matches!(c, '\t' | '\n');
    if text.chars().all(is_fine) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| !is_fine(c)) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = rest.strip_prefix("\x1b[").and_then(|after| {
            let end = after.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            after[end..].starts_with('m').then_some(end + 3)
        });
        let taken = colour.unwrap_or_else(|| rest.chars().next().map_or(0, char::len_utf8));
        shown.push_str(match colour {
            Some(length) => &rest[..length],
            None if rest.starts_with("\r\n") => "",
            None => "\u{fffd}",
        });
        rest = &rest[taken..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// As a shell takes it as one word: names in commands that people paste.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// At most `limit` characters, with an ellipsis when something is left out; one line, without control characters.
pub fn short(text: &str, limit: usize) -> String {
    let text = &printable_lines(text);
    let line = text.lines().next().unwrap_or_default();
    let more = text.lines().nth(1).is_some() || line.chars().count() > limit;
    if !more {
        return line.to_owned();
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The first characters of an id: `5f0c…`.
pub fn short_id(id: &str) -> String {
    short(id, 5)
}

/// `1 session`, `2 sessions`.
pub fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Local time of day, with the date when it is not today: what "since" is answered with.
pub fn clock_time(ms: u64) -> String {
    let zone = jiff::tz::TimeZone::system();
    let Ok(time) = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX)) else {
        return "?".to_owned();
    };
    let time = time.to_zoned(zone.clone());
    let today = jiff::Timestamp::now().to_zoned(zone).date();
    if time.date() == today {
        time.strftime("%H:%M").to_string()
    } else {
        time.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_one_unit() {
        assert_eq!(age(12_300), "12s");
        assert_eq!(age(180_000), "3m");
        assert_eq!(age(90_000_000), "1d");
        assert_eq!(duration(Duration::from_millis(84)), "84 ms");
        assert_eq!(duration(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(bytes(412 * 1024 * 1024), "412 MB");
        assert_eq!(count(4_120.0), "4.1k");
        assert_eq!(plural(1, "session"), "1 session");
        assert_eq!(plural(0, "session"), "0 sessions");
    }

    #[test]
    fn a_name_in_a_command_is_one_word() {
        assert_eq!(quoted("shop-2"), "shop-2");
        assert_eq!(quoted("sp ace"), "'sp ace'");
        assert_eq!(quoted("it's; $(id)"), r"'it'\''s; $(id)'");
    }

    #[test]
    fn long_or_many_lines_are_cut_by_characters() {
        assert_eq!(short("fix the cart", 40), "fix the cart");
        assert_eq!(short("日本語テキスト", 4), "日本語…");
        assert_eq!(short("one\ntwo", 10), "one…");
        assert_eq!(short_id("5f0cd1c2-aaaa"), "5f0c…");
    }

    #[test]
    fn what_an_assistant_says_reaches_a_terminal_without_its_escapes() {
        // A title, the clipboard, the cursor, and what eight bits say the same with.
        let nasty =
            "a\x1b]0;title\x07b\x1b]52;c;eA==\x07c\x1b[2Jd\u{9b}31me\rf\x08\n\tg\x1b[31mh\x1b[0m";
        for shown in [
            printable(nasty),
            printable_lines(nasty),
            short(nasty, 200),
            only_colours(nasty).into_owned(),
        ] {
            let plain = shown.replace("\x1b[31m", "").replace("\x1b[0m", "");
            let left = plain
                .chars()
                .find(|c| c.is_control() && !"\n\t".contains(*c));
            assert_eq!(left, None, "{shown:?}");
        }
        assert!(!printable(nasty).contains('\n') && !printable_lines(nasty).contains('\x1b'));
        assert!(printable_lines(nasty).contains("\n\tg"));
        assert_eq!(printable("ls \u{202e}fr- mr"), "ls \u{fffd}fr- mr");
        assert_eq!(printable("👩\u{200d}💻"), "👩\u{200d}💻");
        assert!(only_colours(nasty).ends_with("\n\tg\x1b[31mh\x1b[0m"));
        assert_eq!(only_colours("\x1b[3"), "\u{fffd}[3");
        assert_eq!(only_colours("one\r\ntwo"), "one\ntwo");
    }
}
