//! What goes well: the chain of branches, the commit, the push, a work tree per task.

use orchestrator::adapters::git::{GitCli, Isolation};
use orchestrator_actors::domain::task::CommitId;
use orchestrator_actors::ports::git::{ChainLink, Git, RelationshipKind};

use crate::repository::{Repository, begin, complete, put};

#[tokio::test]
async fn two_tasks_make_a_chain_that_is_pushed() {
    let repository = Repository::new();
    let git = repository.cli();
    let before = repository.head();
    let mut links = Vec::new();
    for (task, file) in [
        ("implement login", "login.rs"),
        ("add validation", "check.rs"),
    ] {
        assert!(git.is_clean().await.unwrap().is_clean());
        let change = begin(&git, task).await.unwrap();
        assert!(!git.evidence(change.clone()).await.unwrap().is_work());
        repository.write(file, "fn main() {}\n");
        assert_eq!(git.evidence(change.clone()).await.unwrap().changed, 1);
        let commit = complete(&git, &change, task).await.unwrap();
        links.push(ChainLink {
            branch: change.created,
            previous: change.previous,
            base: change.base,
            commit,
        });
    }
    let names: Vec<&str> = links.iter().map(|link| link.branch.as_str()).collect();
    assert_eq!(names, ["1282544961935709", "2456583589892771"]);
    assert_eq!(repository.branch(), "2456583589892771");
    assert_eq!(
        repository.remote_branches(),
        ["1282544961935709", "2456583589892771", "main"]
    );
    assert!(repository.is_ancestor("main", "refs/heads/1282544961935709"));
    assert!(repository.is_ancestor("refs/heads/1282544961935709", "refs/heads/2456583589892771"));
    assert!(
        git.is_clean().await.unwrap().is_clean(),
        "in sync after the push"
    );
    assert_eq!(
        repository.git(&["log", "-1", "--format=%an <%ae> %s"]),
        "Task Bot <bot@example.com> add validation"
    );

    let kinds = |relationships: Vec<orchestrator_actors::ports::git::Relationship>| {
        relationships
            .into_iter()
            .map(|one| one.kind)
            .collect::<Vec<_>>()
    };
    let found = git.verify_chain(links.clone()).await.unwrap();
    assert_eq!(
        kinds(found),
        [RelationshipKind::Chains, RelationshipKind::Chains]
    );
    // A sibling is no successor.
    links[1].base = CommitId::new(before);
    let found = git.verify_chain(links.clone()).await.unwrap();
    assert_eq!(found[1].kind, RelationshipKind::Diverged);
    repository.git(&["switch", "-q", "main"]);
    repository.git(&["branch", "-q", "-D", "1282544961935709"]);
    let found = git.verify_chain(links).await.unwrap();
    assert!(found[0].why.as_ref().unwrap().contains("is gone"));
}

#[tokio::test]
async fn what_the_assistant_committed_itself_counts_and_is_pushed() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "a").await.unwrap();
    repository.write("a.txt", "a");
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "by the assistant"]);
    repository.write("b.txt", "b");
    let evidence = git.evidence(change.clone()).await.unwrap();
    assert_eq!((evidence.changed, evidence.commits), (1, 1));
    let commit = complete(&git, &change, "a").await.unwrap();
    assert_eq!(
        repository.remote(&["rev-parse", &change.created.full()]),
        commit.as_str()
    );
    assert_eq!(
        repository.git(&["log", "--format=%s"]),
        "a\nby the assistant\nfirst"
    );
    // Again, as after a crash.
    assert_eq!(complete(&git, &change, "a").await.unwrap(), commit);
}

#[tokio::test]
async fn a_message_is_kept_to_the_letter() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let long = "long ".repeat(20_000);
    let message = format!(
        "$(touch /tmp/pwned) `id` \"; rm -rf ~ # 日本語 👩‍💻 \u{202e}\n\n# not a comment\n--amend\n{long}"
    );
    complete(&git, &change, &message).await.unwrap();
    assert_eq!(
        repository.git(&["log", "-1", "--format=%B"]),
        message.trim()
    );
}

#[tokio::test]
async fn what_somebody_wrote_after_the_commit_keeps_the_task_from_ending_and_stays() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    repository.write("README.md", "the user's\n");
    assert!(git.push(change.clone(), commit.clone()).await.unwrap());
    let error = git.settle(change.clone()).await.unwrap_err();
    assert!(
        error.stops_the_loop() && error.to_string().contains("README.md"),
        "{error}"
    );
    assert_eq!(repository.read("README.md"), "the user's\n");
    repository.git(&["checkout", "-q", "--", "."]);
    git.settle(change).await.unwrap();
}

/// The directory is everybody's while work waits for its remote.
#[tokio::test]
async fn what_somebody_committed_on_the_branch_meanwhile_is_not_published_with_the_task() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    repository.write("mine.txt", "mine");
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "mine"]);
    assert!(git.push(change.clone(), commit.clone()).await.unwrap());
    let there = repository.remote(&["rev-parse", &change.created.full()]);
    assert_eq!(there, commit.as_str());
}

#[tokio::test]
async fn more_files_than_git_is_told_of_at_once_are_all_committed() {
    let repository = Repository::new();
    let git = repository.cli();
    let change = begin(&git, "x").await.unwrap();
    for number in 0..4_500 {
        repository.write(&format!("many/{number}.txt"), "x");
    }
    git.commit(change.clone(), "x".to_owned()).await.unwrap();
    let listed = repository.git(&["ls-tree", "-r", "--name-only", "HEAD", "many/"]);
    assert_eq!(listed.lines().count(), 4_500);
    assert!(repository.git(&["status", "--porcelain"]).is_empty());
}

#[tokio::test]
async fn without_the_remote_the_branch_stays_here() {
    let repository = Repository::alone();
    let git = repository.cli();
    assert!(git.is_clean().await.unwrap().is_clean());
    let change = begin(&git, "x").await.unwrap();
    repository.write("a.txt", "a");
    let commit = git.commit(change.clone(), "x".to_owned()).await.unwrap();
    assert!(!git.push(change.clone(), commit.clone()).await.unwrap());
    git.settle(change).await.unwrap();
}

#[tokio::test]
async fn a_work_tree_per_task_leaves_the_checkout_alone_and_still_chains() {
    let repository = Repository::new();
    let git = repository.with_trees();
    repository.write("notes.txt", "the user is in the middle of something");
    let before = repository.head();
    for (task, file) in [("one", "one.txt"), ("two", "two.txt")] {
        assert!(git.is_clean().await.unwrap().is_clean());
        let change = begin(&git, task).await.unwrap();
        put(&change.directory.join(file), task);
        complete(&git, &change, task).await.unwrap();
        assert!(!change.directory.exists());
    }
    let tip = repository.git(&["rev-parse", "refs/orchestrator/chain"]);
    assert_eq!(
        repository.git(&["log", "--format=%s", &tip]),
        "two\none\nfirst"
    );
    assert_eq!(
        (repository.branch(), repository.head()),
        ("main".to_owned(), before)
    );
    assert!(repository.has("notes.txt") && !repository.has("one.txt"));
    assert_eq!(repository.remote_branches().len(), 3);
    assert_eq!(repository.git(&["worktree", "list"]).lines().count(), 1);
    // The user goes on without the tasks: the next one starts from there.
    repository.git(&["add", "-A"]);
    repository.git(&["commit", "-q", "-m", "the user's"]);
    let change = begin(&git, "three").await.unwrap();
    assert_eq!(change.base.as_str(), repository.head());
    git.clean_up(crate::repository::undo(&change))
        .await
        .unwrap();
    assert!(!change.directory.exists());
    assert_eq!(repository.branches().len(), 3);
}

#[tokio::test]
async fn isolation_ignores_the_users_configuration() {
    let repository = Repository::new();
    put(
        &repository.folder.path().join("home/.gitconfig"),
        "[user]\n name = Global\n email = global@example.com\n[push]\n default = nothing\n",
    );
    let mut config = repository.config();
    config.identity = None;
    let open = GitCli::new(config.clone());
    let change = begin(&open, "one").await.unwrap();
    repository.write("a.txt", "a");
    complete(&open, &change, "one").await.unwrap();
    assert_eq!(repository.git(&["log", "-1", "--format=%an"]), "Global");
    config.isolation = Isolation::Config;
    let isolated = GitCli::new(config);
    let change = begin(&isolated, "two").await.unwrap();
    repository.write("b.txt", "b");
    let refused = isolated
        .commit(change.clone(), "two".to_owned())
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        orchestrator_actors::ports::git::GitError::NoIdentity
    );
    isolated
        .clean_up(crate::repository::undo(&change))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_state_is_dumped_for_people() {
    let repository = Repository::new();
    let git = repository.cli();
    begin(&git, "implement login").await.unwrap();
    repository.write("new file.txt", "");
    let dump = git.dump_state("after".to_owned()).await.unwrap();
    assert_eq!(dump.label, "after");
    assert_eq!(dump.branch.as_deref(), Some("1282544961935709"));
    assert_eq!(dump.branches.len(), 2);
    assert!(
        dump.branches[1].1.ends_with(" first"),
        "{:?}",
        dump.branches
    );
    assert_eq!(dump.changed, ["?? new file.txt"]);
    assert_eq!(dump.files, [".gitignore", "README.md", "new file.txt"]);
    assert!(dump.log.contains("first"));
}
