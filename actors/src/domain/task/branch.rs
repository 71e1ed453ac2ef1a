//! A task's branch is named by a hash of the task's text, so that the same text always means the same branch. The hash
//! is cyrb53 over UTF-16 code units, as the JavaScript that made the first of these branches computes it: nothing is
//! trimmed or normalised, and the number is written without padding.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The 53-bit hash, in its present variant (the final mixing multiplies by 2246822507 and 3266489909).
pub fn cyrb53(text: &str, seed: u32) -> u64 {
    let (mut h1, mut h2) = (0xdead_beef ^ seed, 0x41c6_ce57 ^ seed);
    for unit in text.encode_utf16() {
        h1 = (h1 ^ u32::from(unit)).wrapping_mul(2_654_435_761);
        h2 = (h2 ^ u32::from(unit)).wrapping_mul(1_597_334_677);
    }
    h1 = (h1 ^ (h1 >> 16)).wrapping_mul(2_246_822_507);
    h1 ^= (h2 ^ (h2 >> 13)).wrapping_mul(3_266_489_909);
    h2 = (h2 ^ (h2 >> 16)).wrapping_mul(2_246_822_507);
    h2 ^= (h1 ^ (h1 >> 13)).wrapping_mul(3_266_489_909);
    (u64::from(h2 & 0x001f_ffff) << 32) | u64::from(h1)
}

/// A branch without `refs/heads/`. No name that git would read as an option or as an expression can exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` cannot be the name of a branch")]
pub struct BranchNameError(String);

/// A file system's longest name, which is what a loose ref becomes, less `.lock`.
const LONGEST: usize = 250;

impl BranchName {
    /// The branch of a task. The prefix is the user's (`task-`, `bot/`), empty by default.
    pub fn of_task(prefix: &str, text: &str) -> Result<Self, BranchNameError> {
        Self::new(format!("{prefix}{}", cyrb53(text, 0)))
    }

    /// Holds to the rules of `git check-ref-format --branch`.
    pub fn new(name: impl Into<String>) -> Result<Self, BranchNameError> {
        let name = name.into();
        let bad_character = |c: char| {
            c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
        };
        let bad_part = |part: &str| {
            part.is_empty() || part.starts_with('.') || part.strip_suffix(".lock").is_some()
        };
        let bad = name.starts_with('-')
            || name == "@"
            || name == "HEAD"
            || name.len() > LONGEST
            || name.ends_with('.')
            || name.contains("..")
            || name.contains("@{")
            || name.contains(bad_character)
            || name.split('/').any(bad_part);
        if bad {
            return Err(BranchNameError(name));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Never ambiguous: a bare number can also be an abbreviated commit.
    pub fn full(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BranchName {
    type Error = BranchNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<BranchName> for String {
    fn from(name: BranchName) -> Self {
        name.0
    }
}

/// A commit by its whole id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(String);

impl CommitId {
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What making a task's branch changes, and so what has to be undone when the task fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchChange {
    /// The branch that the task's branch starts from and that a failure goes back to.
    pub previous: BranchName,
    pub created: BranchName,
    /// The commit that `created` starts at: the recorded parent in the chain.
    pub base: CommitId,
    /// Where the work is done: the repository, or a work tree of the task's own.
    pub directory: PathBuf,
    /// How the attempt began, and so how it is ended, whatever the settings say by then. `None`: as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Names the settings that say where a push goes, as they were before the assistant came. `None`: nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// How far a task's work is kept away from what is the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The user's global configuration holds, as the credentials of most remotes need it.
    #[default]
    Off,
    /// Neither the system's nor the user's configuration is read.
    Config,
    /// Every task gets a work tree of its own below this folder, removed at its end. The user's stays as it is.
    Worktree(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_agrees_with_javascript() {
        let long = "a".repeat(10_000);
        for (text, zero, one) in [
            ("", 3_338_908_027_751_811, Some(7_956_228_673_112_545)),
            ("a", 7_929_297_801_672_961, Some(5_368_154_436_228_575)),
            ("b", 8_684_336_938_537_663, Some(217_965_353_842_102)),
            ("revenge", 4_051_478_007_546_757, Some(159_804_134_958_634)),
            (
                "revenue",
                8_309_097_637_345_594,
                Some(8_697_026_808_958_300),
            ),
            (
                "implement login",
                1_282_544_961_935_709,
                Some(6_405_556_742_922_832),
            ),
            (
                "add validation",
                2_456_583_589_892_771,
                Some(2_539_974_190_463_941),
            ),
            ("write tests", 531_566_247_443_740, None),
            (
                "create a simple hello.txt file with greeting",
                5_438_721_616_148_507,
                Some(5_158_973_796_094_104),
            ),
            (
                "read hello.txt and create a response.txt file",
                5_019_155_472_143_070,
                Some(1_418_691_013_354_305),
            ),
            (
                "Привет, мир",
                8_092_806_433_492_228,
                Some(3_487_670_246_838_812),
            ),
            (
                "日本語のタスク",
                490_620_337_960_151,
                Some(4_669_555_066_187_889),
            ),
            ("日本語 🎉", 1_549_504_020_616_413, None),
            (
                "na\u{ef}ve caf\u{e9}",
                5_324_146_965_417_395,
                Some(1_617_565_521_119_953),
            ),
            (
                "nai\u{308}ve cafe\u{301}",
                6_485_975_484_343_658,
                Some(8_831_677_860_124_182),
            ),
            (
                "🦢 goose",
                1_139_051_649_747_275,
                Some(6_629_340_826_726_939),
            ),
            (
                "👩‍💻 pair",
                1_872_091_894_208_490,
                Some(8_039_745_444_176_221),
            ),
            ("\0", 4_446_763_975_410_778, Some(8_309_288_838_186_682)),
            (
                "line1\nline2",
                2_211_865_008_556_722,
                Some(6_097_871_201_317_490),
            ),
            (
                " implement login",
                8_478_522_421_121_314,
                Some(2_648_534_814_752_618),
            ),
            (
                "implement login ",
                282_545_808_776_236,
                Some(3_124_671_889_539_056),
            ),
            ("t1200682", 341_547_149, None),
            (long.as_str(), 4_504_614_160_560_222, None),
        ] {
            assert_eq!(cyrb53(text, 0), zero, "{text:?}");
            if let Some(one) = one {
                assert_eq!(cyrb53(text, 1), one, "{text:?} with seed 1");
            }
        }
    }

    #[test]
    fn a_branch_is_the_bare_number_unless_a_prefix_is_set() {
        let name = |prefix| BranchName::of_task(prefix, "implement login").unwrap();
        assert_eq!(name("").as_str(), "1282544961935709");
        assert_eq!(name("task-").as_str(), "task-1282544961935709");
        assert_eq!(name("bot/").full(), "refs/heads/bot/1282544961935709");
        for prefix in ["-", "a b", "..", "/", "a//", ".a/", "x~", "é\n"] {
            assert!(BranchName::of_task(prefix, "a").is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn a_damaged_name_is_refused_when_it_is_read_back() {
        assert!(serde_json::from_str::<BranchName>("\"main\"").is_ok());
        assert!(serde_json::from_str::<BranchName>("\"--force\"").is_err());
    }
}
