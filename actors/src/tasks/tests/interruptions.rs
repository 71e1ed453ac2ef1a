//! The loop is killed, stopped, or its task called off, before and after every step it makes. Whatever happens: the
//! task is done once or given back, never on two branches, and the repository is never left half-way.

use super::world::{Interruption, World};
use crate::domain::task::{BranchName, Class, Failure, Isolation};
use crate::ports::tasks::{Acknowledgement, LoopEnd};

const STEPS: [&str; 12] = [
    "pull",
    "write",
    "is_clean",
    "prepare",
    "branch",
    "run",
    "evidence",
    "commit",
    "push",
    "settle",
    "acknowledge",
    "clear",
];

/// A journal that is written seven times on the way: the n-th of them is interrupted by letting n - 1 pass.
fn points() -> Vec<String> {
    STEPS
        .iter()
        .flat_map(|step| [format!("before {step}"), format!("after {step}")])
        .collect()
}

fn done(world: &World) -> usize {
    let state = world.state();
    let done = state
        .acknowledged
        .iter()
        .filter(|(_, what)| matches!(what, Acknowledgement::Done(_)));
    done.count()
}

fn ended_well(world: &World, point: &str) {
    let name = BranchName::of_task("", "a").unwrap().to_string();
    assert_eq!(done(world), 1, "{point}: done once");
    let state = world.state();
    assert_eq!(state.current, name, "{point}");
    assert!(state.remote.contains(&name), "{point}");
    assert_eq!(state.branches.len(), 2, "{point}: no second branch");
    assert!(!state.dirty && state.journal.is_none(), "{point}");
    assert!(state.runs.len() <= 2, "{point}: {:?}", state.runs);
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_is_done_once_after_the_restart() {
    for point in points() {
        let world = World::new(&["a"]);
        world.state().interruption = Some((point.clone(), Interruption::Kill));
        assert_eq!(world.run().await, None, "{point}");
        world.run_to_the_end().await;
        ended_well(&world, &point);
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_writing_of_the_journal_it_is_done_once_after_the_restart() {
    for name in [
        "(pulled)",
        "(branching)",
        "(running)",
        "(committing)",
        "(pushing)",
        "(acknowledging)",
    ] {
        for side in ["before", "after"] {
            let world = World::new(&["a"]);
            // Killed at the step behind or before the one that is written down.
            let step = match (name, side) {
                ("(pulled)", "before") => "after pull",
                ("(pulled)", _) => "before is_clean",
                ("(branching)", "before") => "after prepare",
                ("(branching)", _) => "before branch",
                ("(running)", "before") => "after branch",
                ("(running)", _) => "before run",
                ("(committing)", "before") => "after run",
                ("(committing)", _) => "before evidence",
                ("(pushing)", "before") => "after commit",
                ("(pushing)", _) => "before push",
                ("(acknowledging)", "before") => "after settle",
                _ => "before acknowledge",
            };
            world.state().interruption = Some((step.to_owned(), Interruption::Kill));
            assert_eq!(world.run().await, None);
            let found = world
                .state()
                .journal
                .clone()
                .map(|entry| format!("({})", entry.phase.name()));
            if side == "after" {
                assert_eq!(found.as_deref(), Some(name));
            } else {
                assert_ne!(found.as_deref(), Some(name));
            }
            world.run_to_the_end().await;
            ended_well(&world, step);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_committed_is_not_done_again() {
    for point in [
        "before commit",
        "after commit",
        "before push",
        "after push",
        "before acknowledge",
        "after acknowledge",
    ] {
        for what in [Interruption::Kill, Interruption::Stop] {
            let world = World::new(&["a"]);
            world.state().interruption = Some((point.to_owned(), what));
            world.run().await;
            world.run_to_the_end().await;
            ended_well(&world, point);
            assert_eq!(
                world.state().runs.len(),
                1,
                "{point}: the assistant ran once"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_anywhere_the_repository_is_whole_and_the_next_start_does_it() {
    for point in points() {
        let world = World::new(&["a"]);
        world.state().interruption = Some((point.clone(), Interruption::Stop));
        assert_eq!(world.run().await, Some(LoopEnd::Stopped), "{point}");
        {
            let state = world.state();
            let half_made = state.current != "main" && !state.committed.contains(&state.current);
            assert!(!half_made && !state.dirty, "{point}: {:?}", state.calls);
        }
        world.run_to_the_end().await;
        ended_well(&world, &point);
        let failed = world
            .state()
            .acknowledged
            .iter()
            .any(|(_, what)| matches!(what, Acknowledgement::Failed(_)));
        assert!(!failed, "{point}: a stop costs no attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn called_off_before_it_is_pushed_it_is_undone() {
    for point in [
        "before is_clean",
        "before prepare",
        "before branch",
        "before run",
        "after run",
        "before evidence",
        "before push",
    ] {
        let world = World::new(&["a"]);
        world.state().interruption = Some((point.to_owned(), Interruption::Withdraw));
        assert_eq!(world.run().await, Some(LoopEnd::Stopped), "{point}");
        let state = world.state();
        let Some((_, Acknowledgement::Failed(failure))) = state.acknowledged.last() else {
            // It was done before anybody looked.
            assert_eq!(state.committed.len(), 1, "{point}");
            continue;
        };
        assert_eq!(failure.class, Class::Aborted, "{point}");
        assert_eq!(
            (state.current.as_str(), state.branches.len()),
            ("main", 1),
            "{point}"
        );
        assert!(
            state.remote.is_empty() && !state.dirty && state.journal.is_none(),
            "{point}"
        );
        assert!(state.queue.is_empty(), "{point}: it is not tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn killed_while_it_cleans_up_it_cleans_up_after_the_restart() {
    for point in ["before clean_up", "after clean_up"] {
        for what in [Interruption::Kill, Interruption::Stop] {
            let mut world = World::new(&["a"]);
            world.attempts = 1;
            world
                .state()
                .run_fails
                .push_back(Failure::new(Class::Quota, "no credit"));
            world.state().interruption = Some((point.to_owned(), what));
            world.run().await;
            world.run_to_the_end().await;
            let state = world.state();
            assert_eq!(
                (state.current.as_str(), state.branches.len()),
                ("main", 1),
                "{point}"
            );
            assert_eq!(state.acknowledged.len(), 1, "{point}");
            assert!(
                matches!(&state.acknowledged[0].1, Acknowledgement::Failed(failure) if failure.class == Class::Quota)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_somebody_elses_after_the_restart_is_undone_and_nothing_is_said() {
    for point in [
        "before run",
        "after run",
        "before commit",
        "before push",
        "after push",
        "before acknowledge",
    ] {
        let world = World::new(&["a"]);
        world.state().interruption = Some((point.to_owned(), Interruption::Kill));
        world.run().await;
        world.state().lease_lost = true;
        world.run().await;
        let state = world.state();
        assert!(state.acknowledged.is_empty(), "{point}");
        assert!(state.journal.is_none() && !state.dirty, "{point}");
        if point != "before acknowledge" {
            assert_eq!(
                (state.current.as_str(), state.branches.len()),
                ("main", 1),
                "{point}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_taken_up_in_the_isolation_that_it_began_in() {
    let world = World::new(&["a"]);
    let trees = Some(Isolation::Worktree("/trees".into()));
    world.state().isolation.clone_from(&trees);
    world.state().interruption = Some(("after run".to_owned(), Interruption::Kill));
    world.run().await;
    // The settings are others by now.
    world.state().isolation = Some(Isolation::Off);
    world.run_to_the_end().await;
    let state = world.state();
    let wanted: Vec<_> = state
        .wanted
        .iter()
        .map(|wanted| (wanted.after_restart, wanted.isolation.clone()))
        .collect();
    assert_eq!(wanted, [(false, None), (true, trees), (false, None)]);
}
