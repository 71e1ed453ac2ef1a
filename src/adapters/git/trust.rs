//! Settings in a repository's own configuration that make git start programs. Those with fixed names are overridden in
//! every call; these here have a part that anybody can choose. They are trusted only when the user's own (global or
//! system) configuration says the same, as it does for Git LFS.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestrator_actors::domain::task::BranchChange;
use orchestrator_actors::ports::git::GitError;

use super::GitCli;
use super::call::Call;
use super::place::Place;
use crate::adapters::process::marker::short_hash;

/// Refuses a repository that would make git start programs of its own choice.
pub async fn check(git: &GitCli, place: &Place) -> Result<Settings, GitError> {
    let settings = Settings::read(git, place).await?;
    let named = settings.programs();
    if named.is_empty() {
        Ok(settings)
    } else {
        Err(GitError::Untrusted(named))
    }
}

/// Refuses a push to somewhere else than where it would have gone before the assistant came: the user's key would go along.
pub fn check_route(
    git: &GitCli,
    settings: &Settings,
    change: &BranchChange,
) -> Result<(), GitError> {
    let now = settings.route(&git.config.remote);
    match &change.route {
        Some(before) if *before != now && !git.route.is_accepted(&now) => Err(redirected(git)),
        _ => Ok(()),
    }
}

pub fn redirected(git: &GitCli) -> GitError {
    let remote = &git.config.remote;
    GitError::Redirected(format!("remote.{remote}.*, url.* or http.*"))
}

/// Where pushes go, as it was when tasks were first done here. An attempt that failed must not be able to send the next one
/// elsewhere; a person can, by saying so.
#[derive(Clone, Debug, Default)]
pub struct Route(Arc<Mutex<Accepted>>);

#[derive(Debug, Default)]
enum Accepted {
    /// The first one to be seen is taken.
    #[default]
    First,
    /// A person has looked: so is the next.
    Next,
    Is(String),
}

impl Route {
    /// Whether the next attempt may begin with this route.
    pub fn goes(&self, now: &str) -> bool {
        let mut accepted = self.accepted();
        if let Accepted::Is(known) = &*accepted {
            return known == now;
        }
        *accepted = Accepted::Is(now.to_owned());
        true
    }

    /// Whether a person has taken this one, so that it holds for an attempt that began before.
    fn is_accepted(&self, now: &str) -> bool {
        let mut accepted = self.accepted();
        if matches!(*accepted, Accepted::Next) {
            *accepted = Accepted::Is(now.to_owned());
        }
        matches!(&*accepted, Accepted::Is(known) if known == now)
    }

    pub fn accept_the_next(&self) {
        *self.accepted() = Accepted::Next;
    }

    fn accepted(&self) -> MutexGuard<'_, Accepted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settings that take the power from what is not trusted: undoing must be possible in any repository.
pub async fn disarmed(git: &GitCli, place: &Place) -> Result<Vec<String>, GitError> {
    let named = Settings::read(git, place).await?.programs();
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

/// All settings that hold in a place: `scope NUL key LF value NUL`, again and again.
pub struct Settings(String);

impl Settings {
    pub async fn read(git: &GitCli, place: &Place) -> Result<Self, GitError> {
        let asked = ["config", "--list", "--includes", "--show-scope", "-z"];
        let finished = Call::at(git, place).reading().run(asked).await?;
        Ok(Self(String::from_utf8_lossy(&finished.stdout).into_owned()))
    }

    /// Whether it is the repository's own, and the setting.
    fn each(&self) -> impl Iterator<Item = (bool, &str)> {
        let mut fields = self.0.split('\0');
        std::iter::from_fn(move || {
            let (scope, setting) = (fields.next()?, fields.next()?);
            Some((matches!(scope, "local" | "worktree"), setting))
        })
    }

    /// The repository's own settings that name programs and that the user does not have, too.
    fn programs(&self) -> Vec<String> {
        let named = || {
            self.each()
                .filter(|(_, setting)| names_a_program(key_of(setting)))
        };
        let trusted: BTreeSet<&str> = named()
            .filter_map(|(own, setting)| (!own).then_some(setting))
            .collect();
        let keys: BTreeSet<String> = named()
            .filter(|(own, setting)| *own && !trusted.contains(setting))
            .map(|(_, setting)| key_of(setting).to_owned())
            .collect();
        keys.into_iter().collect()
    }

    /// Whether there is a remote of this name, whoever has named it.
    pub fn has_remote(&self, remote: &str) -> bool {
        let key = format!("remote.{remote}.url");
        self.each().any(|(_, setting)| key_of(setting) == key)
    }

    /// Names what the repository says about where a push to this remote goes. A hash, because an address can hold a password.
    pub fn route(&self, remote: &str) -> String {
        let leads = |setting: &str| leads_somewhere(key_of(setting), remote);
        let own = self.each().filter(|(own, setting)| *own && leads(setting));
        let text: Vec<&str> = own.map(|(_, setting)| setting).collect();
        short_hash(text.join("\0").as_bytes())
    }
}

fn key_of(setting: &str) -> &str {
    setting.split('\n').next().unwrap_or_default()
}

fn leads_somewhere(key: &str, remote: &str) -> bool {
    let of_remote = key
        .strip_prefix("remote.")
        .and_then(|rest| rest.strip_prefix(remote))
        .is_some_and(|rest| rest.starts_with('.') && rest != ".fetch");
    let section = key.split('.').next().unwrap_or_default();
    of_remote || matches!(section, "url" | "http" | "credential" | "ssh")
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
        let programs = |listing: &str| Settings(listing.to_owned()).programs();
        assert_eq!(
            programs(listing),
            ["credential.https://h.helper", "filter.x.y.smudge"]
        );
        let other = listing.replace(
            "global\0filter.lfs.clean\ngit-lfs clean",
            "global\0filter.lfs.clean\nother",
        );
        assert!(programs(&other).contains(&"filter.lfs.clean".to_owned()));
    }

    #[test]
    fn a_route_is_what_the_repository_says_about_its_remote() {
        let route = |listing: &str| Settings(listing.to_owned()).route("origin");
        let before =
            "global\0url.a.insteadof\nb\0local\0remote.origin.url\n/r\0local\0user.name\nx\0";
        for same in [
            "local\0remote.other.url\n/o\0",
            "local\0remote.origin.fetch\n+x\0",
        ] {
            assert_eq!(route(before), route(&format!("{before}{same}")), "{same:?}");
        }
        for other in [
            "local\0remote.origin.pushurl\n/p\0",
            "local\0url./p.insteadof\n/r\0",
            "worktree\0http.proxy\nevil\0",
        ] {
            assert_ne!(
                route(before),
                route(&format!("{before}{other}")),
                "{other:?}"
            );
        }
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
