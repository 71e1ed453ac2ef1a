//! What the assistants of all workers together may take of the machine. Layered as everything here: environment, then
//! `machine` in `workers.json`, then a default that whoever uses it makes up. A change takes effect at the next start.

use jsonc_parser::ast::Object;

use super::env;
use super::fields::Reader;

/// Absent is for the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Assistants alive at once.
    pub max_assistants: Option<usize>,
    /// Assistants starting at once.
    pub max_starting: Option<usize>,
    /// Resident memory of one assistant, in MB, above which it is replaced as soon as no turn needs it.
    pub max_memory_mb: Option<usize>,
}

type Bounds = std::ops::RangeInclusive<usize>;
const ASSISTANTS: Bounds = 1..=1024;
const STARTING: Bounds = 1..=64;
const MEMORY_MB: Bounds = 256..=1_048_576;

impl Limits {
    pub(super) const KEYS: [&str; 3] = ["max_assistants", "max_starting", "max_memory_mb"];

    pub(super) fn read(reader: &mut Reader<'_>, machine: &Object<'_>) -> Self {
        let mut count = |key, bounds| reader.optional_count("machine", machine, key, bounds);
        let [assistants, starting, memory] = Self::KEYS;
        Self {
            max_assistants: count(assistants, ASSISTANTS),
            max_starting: count(starting, STARTING),
            max_memory_mb: count(memory, MEMORY_MB),
        }
    }

    /// The environment's values in the place of these. `Err` names the variable and what it must be.
    pub fn under_environment(self) -> Result<Self, String> {
        self.under(env::get)
    }

    fn under(self, get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let count = |name: &str, bounds: Bounds| match get(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse() {
                Ok(count) if bounds.contains(&count) => Ok(Some(count)),
                _ => Err(format!(
                    "{name}={text}: must be a whole number from {} to {}",
                    bounds.start(),
                    bounds.end()
                )),
            },
        };
        Ok(Self {
            max_assistants: count(env::MAX_ASSISTANTS, ASSISTANTS)?.or(self.max_assistants),
            max_starting: count(env::MAX_STARTING, STARTING)?.or(self.max_starting),
            max_memory_mb: count(env::MAX_MEMORY_MB, MEMORY_MB)?.or(self.max_memory_mb),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file_and_a_wrong_value_is_named() {
        let file = Limits {
            max_assistants: Some(4),
            max_starting: Some(1),
            max_memory_mb: None,
        };
        let get = |name: &str| (name == env::MAX_ASSISTANTS).then(|| "9".to_owned());
        let limits = file.under(get).unwrap();
        assert_eq!(
            (limits.max_assistants, limits.max_starting),
            (Some(9), Some(1))
        );
        let get = |name: &str| (name == env::MAX_MEMORY_MB).then(|| "1.5 GB".to_owned());
        let told = file.under(get).unwrap_err();
        assert!(
            told.starts_with("ORCHESTRATOR_MAX_MEMORY_MB=1.5 GB: must be a whole number from 256"),
            "{told}"
        );
    }
}
