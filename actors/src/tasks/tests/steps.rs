//! What follows what, and what each failure leads to.

use std::time::Duration;

use super::world::World;
use crate::domain::task::{BranchName, Class, Failure, Patience};
use crate::ports::git::GitError;
use crate::ports::tasks::{Acknowledgement, Blocked, LoopEnd};

fn name_of(text: &str) -> String {
    BranchName::of_task("", text).unwrap().to_string()
}

fn failures(world: &World) -> Vec<Class> {
    let state = world.state();
    let failed = state
        .acknowledged
        .iter()
        .filter_map(|(_, what)| match what {
            Acknowledgement::Failed(failure) => Some(failure.class),
            _ => None,
        });
    failed.collect()
}

/// As it was before the task came.
fn is_untouched(world: &World) {
    let state = world.state();
    assert_eq!(state.current, "main");
    assert_eq!(state.branches.len(), 1);
    assert!(!state.dirty && state.remote.is_empty() && state.journal.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_steps_come_in_their_order() {
    let world = World::new(&["implement login"]);
    assert_eq!(world.run().await, Some(LoopEnd::Stopped));
    let steps = world.steps();
    let steps: Vec<&str> = steps
        .iter()
        .map(String::as_str)
        .filter(|step| *step != "write")
        .collect();
    assert_eq!(
        steps,
        [
            "pull",
            "(pulled)",
            "is_clean",
            "prepare",
            "(branching)",
            "branch",
            "(running)",
            "run",
            "evidence",
            "(committing)",
            "commit",
            "(pushing)",
            "push",
            "settle",
            "(acknowledging)",
            "acknowledge",
            "clear",
            "pull",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn three_tasks_make_a_chain() {
    let world = World::new(&["one", "two", "three"]);
    world.run().await;
    let state = world.state();
    let mut previous = "main".to_owned();
    for (text, what) in &state.acknowledged {
        let Acknowledgement::Done(artifact) = what else {
            panic!("{what:?}");
        };
        assert_eq!(artifact.previous.as_str(), previous);
        assert_eq!(artifact.base.as_str(), format!("tip of {previous}"));
        previous = name_of(text);
        assert_eq!(artifact.branch.as_str(), previous);
    }
    assert_eq!((state.current.clone(), state.remote.len()), (previous, 3));
}

#[tokio::test(start_paused = true)]
async fn the_queue_decides_how_often_a_task_is_tried() {
    for (attempts, runs) in [(1, 1), (3, 3)] {
        let mut world = World::new(&["a"]);
        world.attempts = attempts;
        for _ in 0..3 {
            let failure = Failure::new(Class::TurnLimit, "too many turns");
            world.state().run_fails.push_back(failure);
        }
        world.run().await;
        assert_eq!(world.state().runs.len(), runs);
        assert_eq!(failures(&world), vec![Class::TurnLimit; runs]);
        is_untouched(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_does_not_stop_the_next_and_leaves_no_branch() {
    let world = World::new(&["a", "b"]);
    for _ in 0..3 {
        let failure = Failure::new(Class::Server, "500");
        world.state().run_fails.push_back(failure);
    }
    world.run().await;
    let state = world.state();
    assert_eq!(state.runs, ["a", "a", "a", "b"]);
    assert_eq!(state.current, name_of("b"));
    assert!(!state.branches.contains(&name_of("a")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_not_tried_again() {
    let world = World::new(&["a"]);
    let failure = Failure::new(Class::Auth, "401");
    world.state().run_fails.push_back(failure);
    world.run().await;
    assert_eq!(world.state().runs.len(), 1);
    is_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_changes_nothing_has_failed() {
    let world = World::new(&["a"]);
    world.state().changes_nothing = true;
    world.run().await;
    assert_eq!(failures(&world), [Class::NoChanges; 3]);
    is_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn an_empty_and_a_huge_task_fail_without_a_run() {
    let huge = "x".repeat(300 * 1024);
    let world = World::new(&["", " \n\t", &huge]);
    world.run().await;
    assert_eq!(failures(&world), [Class::BadTask; 3]);
    assert!(world.state().runs.is_empty());
    is_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn the_same_task_twice_is_done_once() {
    let world = World::new(&["a", "a"]);
    world.run().await;
    assert_eq!(world.state().runs.len(), 1);
    assert_eq!(failures(&world), [Class::BranchExists]);
    assert_eq!(world.state().current, name_of("a"));
}

#[tokio::test(start_paused = true)]
async fn a_dirty_tree_blocks_the_loop_and_the_task_goes_back() {
    let world = World::new(&["a"]);
    world.state().obstacle = true;
    let end = world.run().await;
    assert!(
        matches!(end, Some(LoopEnd::Blocked(Blocked::NotClean(_)))),
        "{end:?}"
    );
    {
        let mut state = world.state();
        assert_eq!(
            state.queue.front().unwrap().2,
            1,
            "the attempt does not count"
        );
        assert!(matches!(
            state.acknowledged[0].1,
            Acknowledgement::Returned(_)
        ));
        assert!(!state.calls.contains(&"clean_up".to_owned()));
        state.obstacle = false;
    }
    world.run_to_the_end().await;
    assert_eq!(world.state().current, name_of("a"));
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_tried_again_as_often_as_set() {
    let cases = [
        ("branch", GitError::Locked("index.lock".to_owned())),
        ("commit", GitError::Locked("index.lock".to_owned())),
        ("push", GitError::Unreachable("away".to_owned())),
    ];
    for (step, error) in cases {
        let world = World::new(&["a"]);
        world.state().git_fails = Some((step, error, 3));
        world.run().await;
        assert_eq!(world.state().current, name_of("a"), "{step}");
        let tried = world.steps().iter().filter(|call| *call == step).count();
        assert_eq!(tried, 4, "{step}");
    }
}

/// Nobody can say for how long a remote is away, so finished work waits for it. Only its owner ends it.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_push_can_be_called_off_although_the_remote_stays_away() {
    let mut world = World::new(&["a", "b"]);
    world.settings.git = Patience::NONE;
    let away = GitError::Unreachable("away".to_owned());
    let blocked = Some(LoopEnd::Blocked(Blocked::Git(away.clone())));
    world.state().git_fails = Some(("push", away.clone(), 2));
    assert_eq!(world.run().await, blocked);
    assert_eq!(world.run().await, blocked);
    assert!(world.state().acknowledged.is_empty());
    world.state().git_fails = Some(("take_back", away, 1));
    world.state().called_off = true;
    world.run_to_the_end().await;
    let state = world.state();
    let (_, Acknowledgement::Failed(failure)) = &state.acknowledged[0] else {
        panic!("{:?}", state.acknowledged);
    };
    assert_eq!(failure.class, Class::Aborted);
    for part in ["the remote cannot be reached", "left/", &name_of("a")] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert_eq!((&state.current, state.runs.len()), (&name_of("b"), 2));
}

/// Somebody wrote a file while the work was pushed: it is not the task's, and the work is not thrown away for it.
#[tokio::test(start_paused = true)]
async fn changes_that_came_after_the_commit_wait_for_their_owner_and_the_work_with_them() {
    let world = World::new(&["a"]);
    let error = GitError::StillDirty(vec!["notes.txt".to_owned()]);
    world.state().git_fails = Some(("settle", error.clone(), 1));
    let end = world.run().await;
    assert_eq!(end, Some(LoopEnd::Blocked(Blocked::Git(error))));
    assert!(!world.steps().contains(&"clean_up".to_owned()));
    assert!(world.state().acknowledged.is_empty());
    world.run_to_the_end().await;
    let state = world.state();
    assert!(matches!(
        &state.acknowledged[..],
        [(_, Acknowledgement::Done(_))]
    ));
    assert_eq!(state.runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_where_what_the_attempt_left_is_kept() {
    let said = |world: &World| match &world.state().acknowledged[..] {
        [(_, Acknowledgement::Failed(failure)), ..] => failure.message.clone(),
        other => panic!("{other:?}"),
    };
    let left = format!("refs/orchestrator/left/{}", name_of("a"));
    let mut world = World::new(&["a"]);
    world.attempts = 1;
    let failure = Failure::new(Class::Server, "the provider broke");
    world.state().run_fails.push_back(failure.clone());
    world.run().await;
    assert!(said(&world).contains(&left), "{}", said(&world));

    // Kept when the branch that somebody went to was found; told when the attempt is given up.
    let mut world = World::new(&["a"]);
    world.attempts = 1;
    world.state().run_fails.push_back(failure);
    let moved = GitError::Moved {
        expected: BranchName::of_task("", "a").unwrap(),
        found: "main".to_owned(),
        kept: Some("refs/orchestrator/left/of-main".to_owned()),
    };
    world.state().git_fails = Some(("clean_up", moved, 1));
    assert!(matches!(world.run().await, Some(LoopEnd::Blocked(_))));
    world.run().await;
    assert!(said(&world).contains("left/of-main"), "{}", said(&world));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_twice_costs_two_attempts_and_no_branch() {
    let world = World::new(&["a", "b"]);
    let error = GitError::Failed {
        what: "commit".to_owned(),
        said: "conflict".to_owned(),
    };
    world.state().git_fails = Some(("commit", error, 2));
    world.run().await;
    let steps = world.steps();
    assert_eq!(steps.iter().filter(|step| *step == "commit").count(), 4);
    let state = world.state();
    assert!(state.branches.contains(&name_of("a")) && state.branches.contains(&name_of("b")));
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_cannot_be_worked_in_blocks_the_loop_and_no_attempt_counts() {
    for step in ["is_clean", "prepare", "branch"] {
        let world = World::new(&["a"]);
        let error = GitError::Detached("c0ffee".to_owned());
        world.state().git_fails = Some((step, error, 1));
        let end = world.run().await;
        assert!(
            matches!(end, Some(LoopEnd::Blocked(Blocked::Git(_)))),
            "{step}: {end:?}"
        );
        assert_eq!(world.state().queue.front().unwrap().2, 1, "{step}");
        is_untouched(&world);
        world.run_to_the_end().await;
        assert_eq!(world.state().current, name_of("a"), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_short_of_something_blocks_the_loop_and_uses_up_no_task() {
    let short = || GitError::Shortage("No space left on device".to_owned());
    for step in [
        "is_clean", "prepare", "branch", "evidence", "commit", "push",
    ] {
        let mut world = World::new(&["a", "b"]);
        world.attempts = 1;
        world.settings.git = Patience::NONE;
        world.state().git_fails = Some((step, short(), 1));
        let end = world.run().await;
        let expected = Some(LoopEnd::Blocked(Blocked::Git(short())));
        assert_eq!(end, expected, "{step}");
        world.run_to_the_end().await;
        assert_eq!(failures(&world), [], "{step}");
        assert_eq!(world.state().current, name_of("b"), "{step}");
    }
    let mut world = World::new(&["a", "b"]);
    world.attempts = 1;
    let failure = Failure::new(Class::Shortage, "Too many open files");
    world.state().run_fails.push_back(failure);
    world.state().changes_nothing = true;
    let end = world.run().await;
    world.state().changes_nothing = false;
    assert!(
        matches!(&end, Some(LoopEnd::Blocked(Blocked::Shortage(why))) if why.contains("open files")),
        "{end:?}"
    );
    is_untouched(&world);
    world.run_to_the_end().await;
    assert_eq!(failures(&world), []);
}

/// It may be the task that fills the disk: an attempt of it counts, and the queue waits for room.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_short_in_the_middle_of_its_work_counts() {
    let mut world = World::new(&["a"]);
    world.attempts = 2;
    for _ in 0..2 {
        let failure = Failure::new(Class::Shortage, "No space left on device");
        world.state().run_fails.push_back(failure);
    }
    for _ in 0..2 {
        let end = world.run().await;
        assert!(
            matches!(end, Some(LoopEnd::Blocked(Blocked::Shortage(_)))),
            "{end:?}"
        );
    }
    assert_eq!(failures(&world), [Class::Shortage; 2]);
    is_untouched(&world);
}

#[tokio::test(start_paused = true)]
async fn a_git_that_takes_too_long_stops_the_queue_and_not_task_after_task() {
    let slow = || GitError::TimedOut {
        what: "status".to_owned(),
        within: Duration::from_mins(2),
    };
    for (step, used_up) in [("is_clean", 0), ("evidence", 1), ("commit", 0)] {
        let world = World::new(&["a", "b"]);
        world.state().git_fails = Some((step, slow(), 1));
        let end = world.run().await;
        let expected = Some(LoopEnd::Blocked(Blocked::Git(slow())));
        assert_eq!(end, expected, "{step}");
        assert_eq!(failures(&world).len(), used_up, "{step}");
        world.run_to_the_end().await;
        assert_eq!(world.state().current, name_of("b"), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_cannot_be_committed_or_pushed_for_no_fault_of_the_tasks_waits_for_it() {
    for (step, error) in [
        ("commit", GitError::NoIdentity),
        ("commit", GitError::Missing),
        ("push", GitError::Missing),
        ("push", GitError::Unreachable("away".to_owned())),
        ("push", GitError::Denied("no key".to_owned())),
        ("push", GitError::Redirected("remote.origin.*".to_owned())),
        ("settle", GitError::Locked("index.lock".to_owned())),
    ] {
        let mut world = World::new(&["a"]);
        world.settings.git = Patience::NONE;
        world.state().git_fails = Some((step, error.clone(), 2));
        for _ in 0..2 {
            let end = world.run().await;
            let expected = Some(LoopEnd::Blocked(Blocked::Git(error.clone())));
            assert_eq!(end, expected, "{step}");
            assert!(world.state().acknowledged.is_empty(), "{step}");
        }
        world.run_to_the_end().await;
        let state = world.state();
        assert_eq!(state.runs.len(), 1, "{step}: the assistant ran once");
        assert_eq!(state.current, name_of("a"), "{step}");
        assert!(matches!(
            state.acknowledged[..],
            [(_, Acknowledgement::Done(_))]
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_blocks_the_loop_and_is_undone_at_the_next_start() {
    let world = World::new(&["a"]);
    let failure = Failure::new(Class::Context, "too long");
    world.state().run_fails.push_back(failure);
    let error = GitError::Failed {
        what: "reset".to_owned(),
        said: "disk full".to_owned(),
    };
    world.state().git_fails = Some(("clean_up", error, 1));
    let end = world.run().await;
    assert!(matches!(end, Some(LoopEnd::Blocked(_))), "{end:?}");
    assert!(world.state().acknowledged.is_empty());
    world.run_to_the_end().await;
    assert_eq!(failures(&world), [Class::Context]);
    assert_eq!(
        world.state().current,
        name_of("a"),
        "the second attempt went well"
    );
}
