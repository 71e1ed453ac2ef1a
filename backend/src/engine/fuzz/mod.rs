//! Values and validators under anything that can come in: every JSON text is a value or an error, what is a value comes
//! back the same, and a validator accepts what a second, simpler reading of it accepts. Keys are tried in `key`.
//!
//! Cases beyond the default: `PROPTEST_CASES=1000000 PROPTEST_RNG_SEED=1 cargo test -p orchestrator-backend --release
//! fuzz`. What ever failed is in `proptest-regressions/` and tried first; so is `tests/corpus/values.txt`.

mod validators;
mod values;
