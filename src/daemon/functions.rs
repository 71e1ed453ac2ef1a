//! Which functions the embedded deployment runs: the product's. A debug build can be told to run a folder of a test's
//! own instead, so that tests with real processes reach parts of the engine that the product's functions do not use.

use super::error::RunError;

#[cfg(not(debug_assertions))]
pub(super) fn deployed() -> Result<Vec<(String, String)>, RunError> {
    Ok(product())
}

#[cfg(debug_assertions)]
pub(super) fn deployed() -> Result<Vec<(String, String)>, RunError> {
    match crate::config::env::get(crate::config::env::TEST_FUNCTIONS) {
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
    fn without_a_word_it_is_the_products_functions() {
        assert!(product().iter().any(|(name, _)| name == "schema"));
    }
}
