//! Random moments that can be had again: one seed decides about all of a test's.

use std::str::FromStr;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// What is drawn when nobody says otherwise.
const SEED: u64 = 20_261_120;

/// The seed of this run, and its numbers.
pub fn seeded() -> (u64, StdRng) {
    let seed = setting("DURABILITY_SEED", SEED);
    (seed, StdRng::seed_from_u64(seed))
}

/// A number from the environment.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}
