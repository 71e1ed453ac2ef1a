//! Settings in a repository's own configuration that make git start programs. Those with fixed names are overridden in
//! every call; these here have a part that anybody can choose. They are trusted only when the user's own (global or
//! system) configuration says the same, as it does for Git LFS.

use std::collections::BTreeSet;

use orchestrator_actors::ports::git::GitError;

use super::GitCli;
use super::call::Call;
use super::place::Place;

/// Refuses a repository that would make git start programs of its own choice.
pub async fn check(git: &GitCli, place: &Place) -> Result<(), GitError> {
    let named = programs_named(git, place).await?;
    if named.is_empty() {
        Ok(())
    } else {
        Err(GitError::Untrusted(named))
    }
}

/// Settings that take the power from what is not trusted: undoing must be possible in any repository.
pub async fn disarmed(git: &GitCli, place: &Place) -> Result<Vec<String>, GitError> {
    let named = programs_named(git, place).await?;
    Ok(named.into_iter().flat_map(disarm).collect())
}

fn disarm(key: String) -> Vec<String> {
    if let Some(hook) = key
        .strip_suffix(".command")
        .filter(|hook| hook.starts_with("hook."))
    {
        return vec![format!("{hook}.enabled=false")];
    }
    let required = key
        .strip_prefix("filter.")
        .and_then(|rest| rest.rsplit_once('.'))
        .map(|(name, _)| format!("filter.{name}.required=false"));
    let mut settings = vec![format!("{key}=")];
    settings.extend(required);
    settings
}

async fn programs_named(git: &GitCli, place: &Place) -> Result<Vec<String>, GitError> {
    let asked = ["config", "--list", "--includes", "--show-scope", "-z"];
    let finished = Call::at(git, place).reading().run(asked).await?;
    Ok(in_listing(&String::from_utf8_lossy(&finished.stdout)))
}

/// `scope NUL key LF value NUL`, again and again.
fn in_listing(listing: &str) -> Vec<String> {
    let mut fields = listing.split('\0');
    let mut trusted = BTreeSet::new();
    let mut own = BTreeSet::new();
    while let (Some(scope), Some(setting)) = (fields.next(), fields.next()) {
        let key = setting.split('\n').next().unwrap_or_default();
        if !names_a_program(key) {
            continue;
        }
        match scope {
            "local" | "worktree" => own.insert(setting),
            _ => trusted.insert(setting),
        };
    }
    let keys: BTreeSet<String> = own
        .difference(&trusted)
        .map(|setting| setting.split('\n').next().unwrap_or_default().to_owned())
        .collect();
    keys.into_iter().collect()
}

fn names_a_program(key: &str) -> bool {
    let (Some((section, _)), Some((_, name))) = (key.split_once('.'), key.rsplit_once('.')) else {
        return false;
    };
    matches!(
        (section, name),
        ("filter", "clean" | "smudge" | "process")
            | ("credential", "helper")
            | ("remote", "vcs" | "receivepack" | "uploadpack")
            | ("diff", "command" | "textconv")
            | ("merge", "driver")
            // Hooks of the configuration (git 2.54) run beside those of the hooks folder.
            | ("hook", "command")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_globally_is_trusted_in_a_repository_too() {
        let listing = "global\0filter.lfs.clean\ngit-lfs clean -- %f\0\
            local\0filter.lfs.clean\ngit-lfs clean -- %f\0\
            local\0core.hookspath\n.husky\0local\0remote.origin.url\n/r\0\
            local\0filter.x.y.smudge\nevil\0worktree\0credential.https://h.helper\n!evil\0";
        assert_eq!(
            in_listing(listing),
            ["credential.https://h.helper", "filter.x.y.smudge"]
        );
        let other = listing.replace(
            "global\0filter.lfs.clean\ngit-lfs clean",
            "global\0filter.lfs.clean\nother",
        );
        assert!(in_listing(&other).contains(&"filter.lfs.clean".to_owned()));
    }

    #[test]
    fn a_filter_is_disarmed_with_its_requirement() {
        assert_eq!(
            disarm("filter.a.b.smudge".to_owned()),
            ["filter.a.b.smudge=", "filter.a.b.required=false"]
        );
        assert_eq!(
            disarm("credential.helper".to_owned()),
            ["credential.helper="]
        );
        assert_eq!(
            disarm("hook.a.b.command".to_owned()),
            ["hook.a.b.enabled=false"]
        );
        assert!(names_a_program("hook.a.b.command"));
    }
}
