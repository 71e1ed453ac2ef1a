//! Which version a program is: what the npm package around it says, which costs nothing and is what the program would
//! say itself, else its `--version` under a time limit and away from the user's HOME.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::known::{Known, Proof};
use super::{Places, Search};
use crate::adapters::process::{WardSpec, command};

const LIMIT: Duration = Duration::from_secs(5);

/// The version, `None` when the program does not tell, or why it is not the assistant that it seems to be.
pub(super) async fn of(
    known: &Known,
    program: &Path,
    search: &Search,
    places: &Places,
) -> Result<Option<String>, String> {
    if let Some(version) = of_package(program) {
        return Ok(Some(version));
    }
    let said = said_by(program, search, places).await?;
    let bare = known.programs.iter().any(|p| p.proof == Proof::BareVersion);
    if bare && !is_bare(&said) {
        return Err(format!(
            "is another program called {}: it calls itself {:?}",
            known.name,
            said.trim().chars().take(60).collect::<String>()
        ));
    }
    Ok(first_version(&said))
}

/// The package that the real file lies in, when that is one that npm installed.
fn of_package(program: &Path) -> Option<String> {
    let real = program.canonicalize().ok()?;
    let package = real.ancestors().skip(1).find(|folder| {
        let above = folder.parent().and_then(Path::file_name);
        let further = folder
            .parent()
            .and_then(Path::parent)
            .and_then(Path::file_name);
        let is = |name: Option<&std::ffi::OsStr>| name.is_some_and(|name| name == "node_modules");
        let scoped = above.is_some_and(|name| name.to_string_lossy().starts_with('@'));
        is(above) || (scoped && is(further))
    })?;
    let text = std::fs::read_to_string(package.join("package.json")).ok()?;
    let json: Value = serde_json::from_str(&text).ok()?;
    first_version(json["version"].as_str()?)
}

async fn said_by(program: &Path, search: &Search, places: &Places) -> Result<String, String> {
    let mut spec = WardSpec::new(&search.warden, program, "/");
    spec.args = vec!["--version".to_owned()];
    spec.env = places.environment_for(program);
    spec.env.insert("CI".to_owned(), "1".to_owned());
    let finished = command::run_aside(spec, LIMIT)
        .await
        .map_err(|error| format!("does not start: {error}"))?;
    if finished.timed_out {
        return Err(format!("says nothing within {} s", LIMIT.as_secs()));
    }
    if !finished.success() {
        return Err(format!("fails: {}", finished.last_words()));
    }
    Ok(finished.stdout_text())
}

/// The first thing in the text that looks like a version.
fn first_version(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ',')
        .map(|word| word.trim_start_matches(|c: char| !c.is_ascii_digit()))
        .find(|word| {
            let mut parts = word.splitn(3, '.');
            let number = |part: Option<&str>| {
                part.is_some_and(|part| {
                    !part.is_empty() && part.starts_with(|c: char| c.is_ascii_digit())
                })
            };
            let whole = parts
                .next()
                .is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            whole && number(parts.next())
        })
        .map(|word| {
            let end = word
                .find(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c)))
                .unwrap_or(word.len());
            word[..end].to_owned()
        })
}

fn is_bare(said: &str) -> bool {
    let said = said.trim();
    !said.contains(char::is_whitespace) && first_version(said).as_deref() == Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        for (said, version) in [
            (" 1.52.0", "1.52.0"),
            ("codex-cli 0.169.0", "0.169.0"),
            ("2.1.197 (Claude Code)", "2.1.197"),
            (
                "0.0.1790142911-g7618fb (released yesterday)",
                "0.0.1790142911-g7618fb",
            ),
            ("goose version: v3.24.1", "3.24.1"),
        ] {
            assert_eq!(first_version(said).as_deref(), Some(version), "{said}");
        }
        assert_eq!(first_version("no version here 7"), None);
    }

    #[test]
    fn another_goose_is_told_apart() {
        assert!(is_bare(" 1.52.0\n"));
        assert!(!is_bare("goose version: v3.24.1"));
    }
}
