//! The `.env` of development mode: read by the dotenv crate into a map of its own (never into this process's
//! environment, which every child would inherit), and changed for the user line by line, so that everything else in it
//! stays as it was. What the crate reads back decides whether a change was right.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::fields::line_and_column;
use super::load::file_name;
use super::mask::mask_env;
use super::paths::write_private;
use super::problem::{ConfigError, Problem};

/// Where it is looked for: in the current directory.
pub const FILE: &str = ".env";

/// A file's variables, and its text for places in it.
#[derive(Clone, Debug, Default)]
pub struct DotEnv {
    text: String,
    values: BTreeMap<String, String>,
}

impl DotEnv {
    /// `None` when there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(text, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    fn parse(text: String, path: &Path) -> Result<Self, ConfigError> {
        match values(&text) {
            Ok(values) => Ok(Self { text, values }),
            Err(span) => {
                let (line, column) = line_and_column(&text, span.start);
                Err(ConfigError::Invalid {
                    path: path.to_owned(),
                    problems: vec![Problem {
                        path: String::new(),
                        message: "not a line of the form NAME=value".to_owned(),
                        help: None,
                        file: file_name(path),
                        line,
                        column,
                        span: (span.start, span.end),
                    }],
                    warnings: Vec::new(),
                    source_text: mask_env(&text),
                })
            }
        }
    }

    /// A variable that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.values.get(name).map(|value| value.trim())?;
        (!value.is_empty()).then_some(value)
    }

    /// The variable's line, for messages.
    pub fn place(&self, name: &str) -> Range<usize> {
        line_of(&self.text, name).unwrap_or(0..0)
    }

    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        line_and_column(&self.text, at)
    }

    /// The text with every secret blotted out, byte for byte as long.
    pub fn shown(&self) -> String {
        mask_env(&self.text)
    }
}

/// Writes variables into the file (made 0600 when there is none, closed to others when there is), each in its line, the
/// new ones at the end.
pub fn save(path: &Path, changes: &[(&str, &str)]) -> Result<(), String> {
    // A file that is kept elsewhere and linked to stays linked.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match std::fs::read_to_string(&target) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let text = changed(&before, changes).ok_or_else(|| {
        format!(
            "{} cannot be changed safely: edit it by hand",
            path.display()
        )
    })?;
    write_private(&target, text.as_bytes()).map_err(|error| error.to_string())
}

/// The text with the changes; `None` when something else would change with them.
fn changed(before: &str, changes: &[(&str, &str)]) -> Option<String> {
    let mut wanted = values(before).ok()?;
    let mut text = before.to_owned();
    for (name, value) in changes {
        let line = format!("{name}={value}");
        if let Some(range) = line_of(&text, name) {
            text.replace_range(range, &line);
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&line);
            text.push('\n');
        }
        wanted.insert((*name).to_owned(), (*value).to_owned());
    }
    (values(&text).ok()? == wanted).then_some(text)
}

/// All variables (the first of a name counts, as everywhere), or the line that is none.
fn values(text: &str) -> Result<BTreeMap<String, String>, Range<usize>> {
    let clean = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = BTreeMap::new();
    for item in dotenvy::from_read_iter(clean.as_bytes()) {
        match item {
            Ok((name, value)) => {
                found.entry(name).or_insert(value);
            }
            Err(dotenvy::Error::LineParse(line, _)) => {
                let start = text.find(line.trim_end()).unwrap_or(0);
                return Err(start..start + line.trim_end().len());
            }
            Err(_) => return Err(0..0),
        }
    }
    Ok(found)
}

/// The line that sets a variable, without its end.
fn line_of(text: &str, name: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\n', '\r']);
        let assigned = bare.trim_start();
        let assigned = assigned.strip_prefix("export ").unwrap_or(assigned);
        let rest = assigned.trim_start().strip_prefix(name);
        if rest.is_some_and(|rest| rest.trim_start().starts_with('=')) {
            return Some(start..start + bare.len());
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay_and_a_new_one_goes_to_the_end() {
        let before = "# mine\nOTHER=\"a b\"\nexport WORKER_TOKEN=old # was\nMACHINE_TOKEN=";
        let after = changed(
            before,
            &[("WORKER_TOKEN", "new"), ("CONVEX_URL", "https://x")],
        );
        assert_eq!(
            after.unwrap(),
            "# mine\nOTHER=\"a b\"\nWORKER_TOKEN=new\nMACHINE_TOKEN=\nCONVEX_URL=https://x\n"
        );
        assert_eq!(changed("", &[("A", "b")]).unwrap(), "A=b\n");
    }

    #[test]
    fn a_change_that_would_not_be_read_back_is_not_made() {
        // The line is inside somebody's multi-line value.
        let before = "NOTE=\"first\nWORKER_TOKEN=x\nlast\"\n";
        assert_eq!(changed(before, &[("WORKER_TOKEN", "new")]), None);
        assert_eq!(changed("A=b\n", &[("A", "two words")]), None);
    }

    #[test]
    fn empty_variables_are_not_set_and_a_line_that_is_none_has_its_place() {
        let path = Path::new("/x/.env");
        let file = DotEnv::parse("A=\nB=' '\nC=c\n".to_owned(), path).unwrap();
        assert_eq!(
            (file.get("A"), file.get("B"), file.get("C")),
            (None, None, Some("c"))
        );
        let Err(ConfigError::Invalid { problems, .. }) =
            DotEnv::parse("A=1\nnonsense here\n".to_owned(), path)
        else {
            panic!("it was taken");
        };
        assert_eq!(
            problems[0].to_string(),
            "not a line of the form NAME=value (.env:2:1)"
        );
    }
}
