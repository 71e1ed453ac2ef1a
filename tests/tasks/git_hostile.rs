//! What an assistant could leave in a repository so that our own git runs it. Each way would make a file; none does.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use orchestrator_actors::domain::task::{Class, Failure};
use orchestrator_actors::ports::git::{Git, GitError};

use crate::repository::{Repository, begin, complete, put, undo};

/// A program that leaves a trace.
fn trap(repository: &Repository) -> (PathBuf, PathBuf) {
    let program = repository.folder.path().join("trap.sh");
    let trace = repository.folder.path().join("trapped");
    put(
        &program,
        &format!("#!/bin/sh\necho \"$0 $*\" >> {}\ncat\n", trace.display()),
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, trace)
}

#[tokio::test]
async fn hooks_monitors_aliases_pagers_and_signers_are_not_run() {
    let repository = Repository::new();
    let git = repository.cli();
    let (program, trace) = trap(&repository);
    let program = program.display().to_string();
    let change = begin(&git, "x").await.unwrap();
    for hook in [
        "pre-commit",
        "commit-msg",
        "prepare-commit-msg",
        "post-commit",
        "post-checkout",
        "pre-push",
        "post-index-change",
        "reference-transaction",
        "fsmonitor-watchman",
    ] {
        let path = repository.path.join(".git/hooks").join(hook);
        put(
            &path,
            &format!("#!/bin/sh\nexec {program} {hook} < /dev/null\n"),
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (key, value) in [
        ("core.fsmonitor", program.as_str()),
        ("alias.status", &format!("!{program}")),
        ("alias.add", &format!("!{program}")),
        ("core.pager", &program),
        ("core.editor", &program),
        ("sequence.editor", &program),
        ("core.sshCommand", &program),
        ("core.askPass", &program),
        ("gpg.program", &program),
        ("commit.gpgSign", "true"),
        ("push.gpgSign", "true"),
        ("core.gitProxy", &program),
        ("diff.external", &program),
        ("core.worktree", "/"),
    ] {
        put_setting(&repository, key, value);
    }
    repository.write("a.txt", "a");
    // The work tree is named in every call, but a repository that claims another one is refused when it is looked for.
    let error = git.evidence(change.clone()).await.unwrap_err();
    assert_eq!(error, GitError::Untrusted(vec!["core.worktree".to_owned()]));
    put_setting_off(&repository, "core.worktree");
    assert!(git.evidence(change.clone()).await.unwrap().is_work());
    complete(&git, &change, "x").await.unwrap();
    let change = begin(&git, "y").await.unwrap();
    repository.write("b.txt", "b");
    git.clean_up(undo(&change)).await.unwrap();
    assert!(
        !trace.exists(),
        "{}",
        std::fs::read_to_string(trace).unwrap()
    );
    assert_eq!(repository.remote_branches().len(), 2);
}

#[tokio::test]
async fn filters_and_helpers_of_the_repositorys_own_are_refused_and_disarmed() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let (program, trace) = trap(&repository);
    let program = program.display().to_string();
    let change = begin(&git, "x").await.unwrap();
    for key in [
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "credential.helper",
        "remote.origin.receivepack",
    ] {
        put_setting(&repository, key, &program);
    }
    put_setting(&repository, "filter.trap.required", "true");
    repository.write(".gitattributes", "* filter=trap\n");
    repository.write("README.md", "changed\n");
    for error in [
        git.evidence(change.clone()).await.unwrap_err(),
        git.commit(change.clone(), "x".to_owned())
            .await
            .unwrap_err(),
        git.push(change.clone()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("filter.trap.clean"), "{error}");
        assert_eq!(Failure::from(error).class, Class::Repository);
    }
    git.clean_up(undo(&change)).await.unwrap();
    assert_eq!(
        (repository.branch(), repository.read("README.md")),
        ("main".to_owned(), "# shop\n".to_owned())
    );
    assert!(
        !trace.exists(),
        "{}",
        std::fs::read_to_string(trace).unwrap()
    );
    repository.is_as_before("main", &before);
    // In the user's own configuration the same filter is the user's wish.
    let global = format!(
        "[filter \"trap\"]\n clean = {program}\n smudge = {program}\n process = {program}\n"
    );
    put(&repository.folder.path().join("home/.gitconfig"), &global);
    for key in ["credential.helper", "remote.origin.receivepack"] {
        put_setting_off(&repository, key);
    }
    assert!(git.is_clean().await.unwrap().is_clean());
}

#[tokio::test]
async fn a_push_goes_where_it_would_have_gone_before_the_assistant_came_or_nowhere() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    let elsewhere = repository.folder.path().join("elsewhere.git");
    repository.git(&["init", "-q", "--bare", elsewhere.to_str().unwrap()]);
    for key in ["remote.origin.pushurl", "remote.origin.url"] {
        let before = repository.try_git(&repository.path, &["config", "--get", key]);
        put_setting(&repository, key, elsewhere.to_str().unwrap());
        for error in [
            git.push(change.clone()).await.unwrap_err(),
            git.take_back(change.clone(), commit.clone())
                .await
                .unwrap_err(),
        ] {
            assert!(matches!(error, GitError::Redirected(_)), "{error:?}");
            assert!(error.stops_the_loop());
        }
        match before {
            Ok(url) => put_setting(&repository, key, &url),
            Err(_) => put_setting_off(&repository, key),
        }
    }
    assert_eq!(
        repository.try_git(&elsewhere, &["for-each-ref"]).unwrap(),
        ""
    );
    assert!(git.push(change).await.unwrap());
}

/// A submodule has a configuration of its own, which nobody has looked through.
#[tokio::test]
async fn no_filter_of_a_submodule_is_run_for_a_commit_or_to_keep_things_aside() {
    let repository = Repository::new();
    let library = Repository::alone();
    let url = library.path.display().to_string();
    repository.git(&["submodule", "--quiet", "add", &url, "lib"]);
    repository.git(&["commit", "-q", "-m", "with a library"]);
    repository.git(&["push", "-q"]);
    let (program, trace) = trap(&repository);
    let git = repository.cli();
    for whole in [true, false] {
        let change = begin(&git, &format!("whole {whole}")).await.unwrap();
        let lib = repository.path.join("lib");
        repository
            .try_git(
                &lib,
                &["config", "filter.trap.clean", program.to_str().unwrap()],
            )
            .unwrap();
        put(&lib.join(".gitattributes"), "* filter=trap\n");
        put(&lib.join("README.md"), &format!("other {whole}\n"));
        repository.write("a.txt", &format!("{whole}"));
        if whole {
            git.commit(change.clone(), "x".to_owned()).await.unwrap();
            assert_eq!(repository.read("lib/README.md"), "other true\n");
        } else {
            git.clean_up(undo(&change)).await.unwrap();
        }
    }
    assert!(
        !trace.exists(),
        "{}",
        std::fs::read_to_string(trace).unwrap()
    );
}

#[tokio::test]
async fn a_link_in_the_place_of_our_message_leads_nowhere() {
    let repository = Repository::new();
    let git = repository.cli();
    let precious = repository.folder.path().join("precious");
    put(&precious, "precious");
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let git_dir = repository.path.join(".git");
    for name in [
        "ORCHESTRATOR_COMMIT_MESSAGE",
        "ORCHESTRATOR_PATHS",
        "orchestrator-index",
    ] {
        std::os::unix::fs::symlink(&precious, git_dir.join(name)).unwrap();
    }
    git.commit(change.clone(), "x".to_owned()).await.unwrap();
    repository.write("b.txt", "b");
    git.clean_up(undo(&change)).await.unwrap();
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "precious");
}

/// As an editor would: git itself refuses some of these.
fn put_setting(repository: &Repository, key: &str, value: &str) {
    let file = repository.path.join(".git/config");
    repository
        .try_git(
            repository.folder.path(),
            &["config", "--file", &file.display().to_string(), key, value],
        )
        .unwrap();
}

fn put_setting_off(repository: &Repository, key: &str) {
    let file = repository.path.join(".git/config");
    repository
        .try_git(
            repository.folder.path(),
            &[
                "config",
                "--file",
                &file.display().to_string(),
                "--unset",
                key,
            ],
        )
        .unwrap();
}
