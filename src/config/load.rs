//! From a file on disk to a valid configuration. The parser takes JSONC (comments, trailing commas) and nothing looser:
//! a missing comma is a mistake with a place, not a guess.

use std::io::Read;
use std::mem::take;
use std::path::Path;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Range;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::fields::Reader;
use super::mask::mask;
use super::paths::is_exposed;
use super::place::Base;
use super::problem::{ConfigError, Problem};
use super::url::UrlRule;
use super::workers::{self, WorkersConfig};

/// More than any real configuration; keeps a wrong path (a disk image) out of memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// A configuration, and what is odd but no mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: WorkersConfig,
    pub warnings: Vec<Problem>,
    /// What `config check` adds to them.
    pub notes: Vec<Problem>,
}

/// Reads and checks a file.
pub fn load(path: &Path, base: &Base, rule: UrlRule) -> Result<Loaded, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ConfigError::Missing {
            path: path.to_owned(),
        },
        _ => unreadable(error.to_string()),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| unreadable(format!("it is not UTF-8: {}", error.utf8_error())))?;
    let mut loaded = parse(&text, path, base, rule)?;
    if is_exposed(path) {
        loaded.warnings.push(exposed_warning(path));
    }
    Ok(loaded)
}

pub(super) fn exposed_warning(path: &Path) -> Problem {
    Problem {
        path: String::new(),
        message: "this file holds secrets and others can read it".to_owned(),
        help: Some(format!("chmod 600 {}", path.display())),
        file: file_name(path),
        line: 1,
        column: 1,
        span: (0, 1),
    }
}

/// Checks a text; `path` is for messages only.
pub fn parse(text: &str, path: &Path, base: &Base, rule: UrlRule) -> Result<Loaded, ConfigError> {
    read(&mut Reader::new(text, &file_name(path)), path, base, rule)
}

/// The same for a file that entries will be added to.
pub(super) fn parse_begun(
    text: &str,
    path: &Path,
    base: &Base,
    rule: UrlRule,
) -> Result<WorkersConfig, ConfigError> {
    let name = file_name(path);
    let mut reader = Reader::new(text, &name);
    reader.is_begun = true;
    read(&mut reader, path, base, rule).map(|loaded| loaded.config)
}

/// What a file is refused for that is not even JSON.
pub(super) fn not_json(text: &str, path: &Path, error: &ParseError) -> ConfigError {
    let name = file_name(path);
    let mut reader = Reader::new(text, &name);
    reader.not_json(error);
    invalid(&mut reader, path)
}

fn read(
    reader: &mut Reader<'_>,
    path: &Path,
    base: &Base,
    rule: UrlRule,
) -> Result<Loaded, ConfigError> {
    let text = reader.text;
    // A byte order mark is no part of the text; blanks keep the offsets.
    let clean = text.replacen('\u{feff}', "   ", usize::from(text.starts_with('\u{feff}')));
    let parsed = parse_to_ast(&clean, &CollectOptions::default(), &jsonc());
    let mut config = WorkersConfig::default();
    match &parsed {
        Err(error) => reader.not_json(error),
        Ok(parsed) => match &parsed.value {
            Some(Value::Object(root)) => config = workers::read(reader, root, base, rule),
            Some(other) => reader.wrong_kind("", other, "an object with a list `workers`"),
            None => reader.problem("", Range::new(0, 0), "the file is empty"),
        },
    }
    if reader.problems.is_empty() {
        return Ok(Loaded {
            config,
            warnings: take(&mut reader.warnings),
            notes: take(&mut reader.notes),
        });
    }
    Err(invalid(reader, path))
}

fn invalid(reader: &mut Reader<'_>, path: &Path) -> ConfigError {
    ConfigError::Invalid {
        path: path.to_owned(),
        source_text: mask(reader.text),
        problems: take(&mut reader.problems),
        warnings: take(&mut reader.warnings),
    }
}

/// JSON with comments and trailing commas.
pub(super) fn jsonc() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
