//! Reads fields out of a parsed JSONC object and collects every problem on the way, instead of stopping at the first.
//! Unknown keys are warnings with the nearest known name: a typo must be seen, a newer file must still start.

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::errors::ParseError;

use super::origin::Origin;
use super::problem::Problem;

/// A file being read: its text for places, and what was found so far.
pub(super) struct Reader<'a> {
    pub text: &'a str,
    pub file: &'a str,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// Allowed, and worth knowing for who looks closely.
    pub notes: Vec<Problem>,
    /// A file that is being made: it may have no worker yet, or the template's placeholder.
    pub is_begun: bool,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, file: &'a str) -> Self {
        Self {
            text,
            file,
            problems: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            is_begun: false,
        }
    }
}

impl Reader<'_> {
    pub fn not_json(&mut self, error: &ParseError) {
        let message = format!("not valid JSON: {}", error.kind());
        self.problem("", error.range(), message);
    }

    pub fn problem(&mut self, path: &str, range: Range, message: impl Into<String>) {
        let problem = self.make(path, range, message.into(), None);
        self.problems.push(problem);
    }

    pub fn warning(
        &mut self,
        path: &str,
        range: Range,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let warning = self.make(path, range, message.into(), help);
        self.warnings.push(warning);
    }

    pub fn note(&mut self, path: &str, range: Range, message: String, help: Option<String>) {
        let note = self.make(path, range, message, help);
        self.notes.push(note);
    }

    fn make(&self, path: &str, range: Range, message: String, help: Option<String>) -> Problem {
        let (line, column) = line_and_column(self.text, range.start);
        Problem {
            path: path.to_owned(),
            message,
            help,
            file: self.file.to_owned(),
            line,
            column,
            span: (range.start, range.end),
        }
    }

    /// Where a key of `object` stands, if it is there.
    pub fn origin(&self, object: &Object<'_>, key: &str) -> Option<Origin> {
        let range = name_range(object.get(key)?);
        Some(self.origin_at(range.start))
    }

    pub fn origin_at(&self, at: usize) -> Origin {
        let (line, _) = line_and_column(self.text, at);
        Origin::file(self.file, line)
    }

    /// Warns about keys of `object` that are not `known`, and refuses one that is there twice.
    pub fn check_keys(&mut self, path: &str, object: &Object<'_>, known: &[&str]) {
        let mut seen: Vec<&str> = Vec::new();
        for property in &object.properties {
            let key = property.name.as_str();
            let range = name_range(property);
            let at = join(path, key);
            if seen.contains(&key) {
                self.problem(&at, range, "this key is there twice");
            } else if !known.contains(&key) {
                let help = nearest(key, known).map(|name| format!("did you mean `{name}`?"));
                self.warning(&at, range, "unknown key, ignored", help);
            }
            seen.push(key);
        }
    }

    /// A string that must be there. `what` names it in the error: `Convex URL is required`.
    pub fn required_string<'v>(
        &mut self,
        path: &str,
        object: &'v Object<'_>,
        key: &str,
        what: &str,
    ) -> Option<(&'v str, Range)> {
        let at = join(path, key);
        let Some(property) = object.get(key) else {
            let range = Range::new(object.range.start, object.range.start + 1);
            self.problem(&at, range, format!("{what} is required"));
            return None;
        };
        let (text, range) = self.string(&at, &property.value)?;
        if text.trim().is_empty() {
            self.problem(&at, range, format!("{what} is required"));
            return None;
        }
        Some((text, range))
    }

    pub fn optional_string<'v>(
        &mut self,
        path: &str,
        object: &'v Object<'_>,
        key: &str,
    ) -> Option<(&'v str, Range)> {
        let property = object.get(key)?;
        self.string(&join(path, key), &property.value)
    }

    pub fn optional_object<'v, 'a>(
        &mut self,
        path: &str,
        object: &'v Object<'a>,
        key: &str,
    ) -> Option<&'v Object<'a>> {
        let property = object.get(key)?;
        if let Value::Object(inner) = &property.value {
            return Some(inner);
        }
        self.wrong_kind(&join(path, key), &property.value, "an object");
        None
    }

    /// A whole number within bounds.
    pub fn optional_count(
        &mut self,
        path: &str,
        object: &Object<'_>,
        key: &str,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Option<usize> {
        let property = object.get(key)?;
        let at = join(path, key);
        let Value::NumberLit(number) = &property.value else {
            self.wrong_kind(&at, &property.value, "a number");
            return None;
        };
        match number.value.parse::<usize>() {
            Ok(count) if bounds.contains(&count) => Some(count),
            _ => {
                let (low, high) = (bounds.start(), bounds.end());
                let message = format!("must be a whole number from {low} to {high}");
                self.problem(&at, number.range, message);
                None
            }
        }
    }

    /// A time: a number of milliseconds or a string with a unit.
    pub fn optional_millis(
        &mut self,
        path: &str,
        object: &Object<'_>,
        key: &str,
    ) -> Option<super::Millis> {
        let property = object.get(key)?;
        let at = join(path, key);
        let text = match &property.value {
            Value::NumberLit(number) => number.value,
            Value::StringLit(text) => text.value.as_ref(),
            other => {
                self.problem(&at, other.range(), super::time::HELP);
                return None;
            }
        };
        match super::time::parse_millis(text) {
            Ok(time) => Some(time),
            Err(message) => {
                self.problem(&at, property.value.range(), message);
                None
            }
        }
    }

    /// Yes or no.
    pub fn optional_bool(&mut self, path: &str, object: &Object<'_>, key: &str) -> Option<bool> {
        let property = object.get(key)?;
        if let Value::BooleanLit(literal) = &property.value {
            return Some(literal.value);
        }
        self.wrong_kind(&join(path, key), &property.value, "true or false");
        None
    }

    /// A list of strings.
    pub fn optional_strings(&mut self, path: &str, object: &Object<'_>, key: &str) -> Vec<String> {
        let Some(property) = object.get(key) else {
            return Vec::new();
        };
        let at = join(path, key);
        let Value::Array(array) = &property.value else {
            self.wrong_kind(&at, &property.value, "a list of strings");
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, element) in array.elements.iter().enumerate() {
            if let Some((text, _)) = self.string(&join(&at, &index.to_string()), element) {
                found.push(text.to_owned());
            }
        }
        found
    }

    fn string<'v>(&mut self, path: &str, value: &'v Value<'_>) -> Option<(&'v str, Range)> {
        if let Value::StringLit(text) = value {
            return Some((text.value.as_ref(), text.range));
        }
        self.wrong_kind(path, value, "a string");
        None
    }

    pub fn wrong_kind(&mut self, path: &str, value: &Value<'_>, wanted: &str) {
        let found = match value {
            Value::StringLit(_) => "a string",
            Value::NumberLit(_) => "a number",
            Value::BooleanLit(_) => "true or false",
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::NullKeyword(_) => "null",
        };
        self.problem(
            path,
            value.range(),
            format!("must be {wanted}, found {found}"),
        );
    }
}

/// `workers.1` + `convex_url`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Where the value of a key that is there stands.
pub(super) fn range_of(object: &Object<'_>, key: &str) -> Range {
    object
        .get(key)
        .map_or(object.range, |property| property.value.range())
}

fn name_range(property: &ObjectProp<'_>) -> Range {
    match &property.name {
        jsonc_parser::ast::ObjectPropName::String(name) => name.range,
        jsonc_parser::ast::ObjectPropName::Word(name) => name.range,
    }
}

/// The known name that `key` was probably meant to be.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Both from 1; the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[start..].chars().count() + 1)
}
