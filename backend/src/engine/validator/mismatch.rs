//! What a failed check says: the path, the value and the validator, in Convex's words.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a wrong value that its error shows.
const ECHOED: usize = 1000;

/// Where a value breaks its validator, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    pub(super) path: String,
    pub(super) problem: Problem,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    Value {
        value: String,
        validator: String,
    },
    Missing {
        field: String,
        object: String,
        validator: String,
    },
    Extra {
        field: String,
        object: String,
        validator: String,
    },
    WrongTable {
        id: String,
        table: String,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

pub(super) fn render(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Element(at) => format!("[{at}]"),
    });
    steps.collect()
}

/// What was given, as far as it helps to see it: 15 MB of it help nobody.
fn echo(given: &str) -> Cow<'_, str> {
    if given.len() <= ECHOED {
        return given.into();
    }
    let mut end = ECHOED;
    while !given.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes)", &given[..end], given.len()).into()
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Value { .. } => writeln!(out, "Value does not match validator.")?,
            Problem::WrongTable { id, table } => {
                writeln!(
                    out,
                    "Found ID {id:?} of another table, which does not match v.id({table:?})."
                )?;
            }
            Problem::Missing { field, .. } => writeln!(
                out,
                "Object is missing the required field `{field}`. Consider wrapping the field validator in \
                 `v.optional(...)` if this is expected.\n"
            )?,
            Problem::Extra { field, .. } => {
                writeln!(
                    out,
                    "Object contains extra field `{field}` that is not in the validator.\n"
                )?;
            }
        }
        if !self.path.is_empty() {
            writeln!(out, "Path: {}", self.path)?;
        }
        match &self.problem {
            Problem::Value { value, validator } => {
                write!(out, "Value: {}\nValidator: {validator}", echo(value))
            }
            Problem::WrongTable { table, .. } => write!(out, "Validator: v.id({table:?})"),
            Problem::Missing {
                object, validator, ..
            }
            | Problem::Extra {
                object, validator, ..
            } => {
                write!(out, "Object: {}\nValidator: {validator}", echo(object))
            }
        }
    }
}
