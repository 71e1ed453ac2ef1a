//! Which functions the embedded deployment runs, and what may be set of them: the product's. A debug build can be told to run a folder of a test's
//! own instead, so that tests with real processes reach parts of the engine that the product's functions do not use.

use std::time::Duration;

use super::error::RunError;
use crate::config::{env, parse_duration};

/// Our variable, the functions' (`convex/lib/settings.ts`; `npx convex env set` on a real deployment), and the least.
const SETTINGS: [(&str, &str, Duration); 2] = [
    (env::QUEUED_LIMIT, "QUEUED_LIMIT_MS", Duration::from_secs(1)),
    (
        env::ABANDONED_LIMIT,
        "ABANDONED_LIMIT_MS",
        Duration::from_mins(1),
    ),
];
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// The functions' environment: only what is named here, whatever else is in ours.
pub(super) fn settings() -> Result<Vec<(String, String)>, RunError> {
    let mut settings = Vec::new();
    for (variable, name, least) in SETTINGS {
        if let Some(text) = env::get(variable) {
            let time = limit(&text, least)
                .map_err(|reason| RunError::Setup(format!("{variable}={text}: {reason}")))?;
            settings.push((name.to_owned(), time.as_millis().to_string()));
        }
    }
    Ok(settings)
}

fn limit(text: &str, least: Duration) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time < least || time > LONGEST {
        return Err(format!("it must be {least:?} to a year"));
    }
    Ok(time)
}

#[cfg(not(debug_assertions))]
pub(super) fn deployed() -> Result<Vec<(String, String)>, RunError> {
    Ok(product())
}

#[cfg(debug_assertions)]
pub(super) fn deployed() -> Result<Vec<(String, String)>, RunError> {
    match env::get(env::TEST_FUNCTIONS) {
        None => Ok(product()),
        Some(folder) => {
            let mut modules = Vec::new();
            read_modules(std::path::Path::new(&folder), "", &mut modules)
                .map_err(|error| RunError::Setup(format!("cannot read {folder}: {error}")))?;
            Ok(modules)
        }
    }
}

fn product() -> Vec<(String, String)> {
    orchestrator_backend::functions::product()
        .into_iter()
        .map(|(name, source)| (name.to_owned(), source.to_owned()))
        .collect()
}

/// The `.js` files below a folder, named as `convex/` names its modules: `messages`, `lib/auth`.
#[cfg(debug_assertions)]
fn read_modules(
    folder: &std::path::Path,
    prefix: &str,
    modules: &mut Vec<(String, String)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            read_modules(&entry.path(), &format!("{prefix}{name}/"), modules)?;
        } else if let Some(stem) = name.strip_suffix(".js") {
            let source = std::fs::read_to_string(entry.path())?;
            modules.push((format!("{prefix}{stem}"), source));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(debug_assertions)]
    #[test]
    fn modules_are_named_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        for (file, text) in [("a.js", "1"), ("lib/b.js", "2"), ("read.me", "3")] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let mut modules = Vec::new();
        read_modules(folder.path(), "", &mut modules).unwrap();
        modules.sort();
        let expected = [("a", "1"), ("lib/b", "2")].map(|(n, s)| (n.to_owned(), s.to_owned()));
        assert_eq!(modules, expected);
    }

    #[test]
    fn a_limit_has_a_unit_and_bounds() {
        let minute = Duration::from_mins(1);
        assert_eq!(limit("2h", minute), Ok(Duration::from_hours(2)));
        assert_eq!(limit("90000", minute), Ok(Duration::from_secs(90)));
        for wrong in ["59s", "2 years", "soon", "-5"] {
            assert!(limit(wrong, minute).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_word_it_is_the_products_functions() {
        assert!(product().iter().any(|(name, _)| name == "schema"));
    }
}
