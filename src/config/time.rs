//! Times in configurations and flags: a plain number is milliseconds (as `IDLE_TIMEOUT=300000` always was), a string
//! may carry a unit (`"300s"`, `"5m"`).

use std::time::Duration;

/// Milliseconds.
pub type Millis = u64;

/// The longest time that makes sense anywhere: 30 days.
const LONGEST_MS: u64 = 30 * 24 * 3_600_000;

/// What a time that cannot be read is answered with.
pub(super) const HELP: &str = "must be a time such as 300000 (milliseconds) or \"300s\"";

const RANGE: &str = "must be longer than 0 and at most 30 days";

/// Reads `300000`, `300s`, `5m`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let time = match text.parse::<u64>() {
        Ok(number) => Duration::from_millis(number),
        Err(_) => humantime::parse_duration(text).map_err(|error| match error {
            humantime::DurationError::NumberOverflow => RANGE.to_owned(),
            _ => HELP.to_owned(),
        })?,
    };
    if time.is_zero() || time.as_millis() > u128::from(LONGEST_MS) {
        return Err(RANGE.to_owned());
    }
    Ok(time)
}

pub(super) fn parse_millis(text: &str) -> Result<Millis, String> {
    parse_duration(text).map(|time| time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_milliseconds_and_units_are_understood() {
        assert_eq!(parse_millis("300000"), Ok(300_000));
        assert_eq!(parse_millis("300s"), Ok(300_000));
        assert_eq!(parse_millis(" 5m "), Ok(300_000));
        assert_eq!(parse_millis("1h 30m"), Ok(5_400_000));
    }

    #[test]
    fn nonsense_zero_and_eternity_are_refused() {
        for text in ["", "soon", "-5", "0", "0s", "5 parsecs", "9999999999999"] {
            assert!(parse_millis(text).is_err(), "{text}");
        }
    }
}
